//! What the machine asks for: a package is taken in from the higher system, or let go.

use packhorse_domain::agent::{LineId, Trouble};
use packhorse_domain::ids::PackageId;
use packhorse_domain::reason::Code;

use super::{AgentNode, AgentWrite};
use crate::cx::{Cx, Out};
use crate::download::{Download, Standing};
use crate::msg::Msg;
use crate::sites::NodeId;

impl AgentNode {
    /// Starts to take in a line's package; what is staged of it is used.
    pub(super) fn obtain(&mut self, cx: &mut Cx<'_>, line: &LineId) {
        let Some(chunks) = cx.package(&line.package).map(|package| package.chunks) else { return };
        let held = self.store.now().staged.get(&line.package).cloned().unwrap_or_default();
        self.download = Some((line.clone(), Download::new(line.package, chunks, &held)));
        self.take_in(cx);
    }

    /// Goes on taking in, and says when it is done or stuck.
    pub(super) fn take_in(&mut self, cx: &mut Cx<'_>) {
        let Some((line, download)) = &mut self.download else { return };
        let result = match download.go(cx, self.parent).0 {
            Standing::Goes => return,
            Standing::Whole => Ok(()),
            Standing::NoLine => Err(trouble(cx, self.parent, Code::Network)),
            Standing::BadSource => Err(trouble(cx, self.parent, Code::Content)),
        };
        let line = line.clone();
        self.download = None;
        cx.out.push(Out::Obtained(line, result));
    }

    /// A piece came.
    pub(super) fn frame_came(
        &mut self,
        cx: &mut Cx<'_>,
        request: u64,
        package: PackageId,
        chunks: &[(u32, bool)],
    ) {
        let open = self.download.as_mut().filter(|(_, download)| download.package() == package);
        let Some((_, download)) = open else { return };
        let good = download.frame(cx, request, chunks);
        if !good.is_empty() {
            for chunk in good {
                self.store.put(AgentWrite::Chunk(package, chunk));
            }
            cx.send(self.parent, Msg::FrameStored { request, package });
        }
        self.take_in(cx);
    }

    /// Stops taking in; what was staged stays.
    pub(super) fn stop(&mut self, line: &LineId) {
        if self.download.as_ref().is_some_and(|(of, _)| of == line) {
            self.download = None;
        }
    }

    /// Stops taking in, and forgets what was staged.
    pub(super) fn let_go(&mut self, line: &LineId) {
        self.stop(line);
        if self.store.now().staged.contains_key(&line.package) {
            self.store.put(AgentWrite::Unstage(line.package));
        }
    }
}

fn trouble(cx: &Cx<'_>, higher: NodeId, code: Code) -> Trouble {
    Trouble { code, system: cx.sites.label(higher), text: code.brief().to_owned() }
}

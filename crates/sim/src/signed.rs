//! Signatures, modelled: a document carries a mark that only signing gives and that no change survives.

use std::rc::Rc;

/// A signed document, or what somebody made of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<T> {
    content: Rc<T>,
    genuine: bool,
}

impl<T: Clone> Signed<T> {
    /// Signs. Only the managing server's driver calls this.
    pub fn sign(content: T) -> Signed<T> {
        Signed { content: Rc::new(content), genuine: true }
    }

    /// What becomes of a document when somebody without the key changes it.
    #[must_use]
    pub fn tampered(&self, change: impl FnOnce(&mut T)) -> Signed<T> {
        let mut content = (*self.content).clone();
        change(&mut content);
        Signed { content: Rc::new(content), genuine: false }
    }

    /// The content, if the signature is good.
    pub fn verify(&self) -> Option<&T> {
        self.genuine.then_some(&*self.content)
    }

    /// The content, signature or not.
    pub fn unverified(&self) -> &T {
        &self.content
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_change_survives() {
        let good = Signed::sign(3);
        assert_eq!(good.verify(), Some(&3));
        assert_eq!(good.tampered(|n| *n = 4).verify(), None);
        assert_eq!(good.tampered(|_| ()).verify(), None);
    }
}

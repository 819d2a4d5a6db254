//! Stories with real processes, the same in a network of namespaces, and the evil relay. One binary: linking would cost more than the tests gain by being apart.

mod evil;
mod net;
mod stories;

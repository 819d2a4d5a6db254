//! Stories with real processes, and the evil relay. One binary: linking would cost more than the tests gain by being apart.

mod evil;
mod stories;

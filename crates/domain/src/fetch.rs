//! Which chunks to ask for next.

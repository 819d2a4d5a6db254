//! A whole agent against a small higher system over real connections: outcomes at the boundary.

mod evil;
mod higher;
mod install;
mod join;
mod relay;
mod restart;
mod system;

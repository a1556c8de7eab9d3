//! The app: joins configuration, adapters and core. To be written but for what the command line needs of it.

pub mod apply;
pub mod chance;
pub mod clock;
pub mod keys;

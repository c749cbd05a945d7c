//! NVIDIA GPUs, or what emulates them: a model and its sessions on a device.

mod bytes;
pub mod device;
mod ring;
pub mod session;
pub mod sizes;

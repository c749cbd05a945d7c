//! What the driver says, as an error.

use cudarc::driver::result::DriverError;

use crate::error::CudaError;

/// Makes an error of what the driver says to a call.
pub fn failed(call: &'static str) -> impl Fn(DriverError) -> CudaError {
    move |error| {
        let words = error.error_string().map(|text| text.to_string_lossy().into_owned());
        CudaError::Driver {
            call,
            reason: words.unwrap_or_else(|_| format!("error {}", error.0 as u32)),
        }
    }
}

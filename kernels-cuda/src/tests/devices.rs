//! Devices for the tests, and buffers on them.

use std::io::Write;

use crate::address::Address;
use crate::device::Raw;
#[cfg(feature = "driver")]
use crate::driver::Driver;
use crate::emulator::Order;
use crate::launch::{Extent, Launch};
use crate::params::Params;
use crate::{CudaError, Emulator, Kernel};
use hardtack_kernels::activations::groups;
use hardtack_kernels::{ActivationsMut, scalar};

/// Which devices tests run on, as the variable says that `.ci/gpu` sets: `gpu` alone, which must
/// then be there, or `emulated` alone; both if it is not set.
const DEVICES: &str = "HARDTACK_DEVICES";
/// A file that gets each launch before it runs on a GPU, so that the last one is there when it
/// fails.
#[cfg(feature = "driver")]
const LAUNCH: &str = "HARDTACK_LAUNCH";

/// Runs a test on an emulated device with tensor cores and on one without, whose blocks run their
/// last thread first, and on a GPU. What is not at hand is said past the test runner, which keeps
/// to itself what a passing test prints.
pub fn on_devices(mut test: impl FnMut(&OnDevice)) {
    let program = std::env::current_exe().unwrap();
    let folder = program.parent().unwrap();
    let wanted = std::env::var(DEVICES).unwrap_or_default();
    let emulations = [(true, Order::Forwards), (false, Order::Backwards)];
    for (tensor_cores, order) in emulations.into_iter().filter(|_| wanted != "gpu") {
        match Emulator::start(folder, tensor_cores, order) {
            Ok(device) => test(&OnDevice { device: Target::Emulated(device) }),
            Err(error @ CudaError::NoCompiler { .. }) => {
                let _ = std::io::stderr()
                    .write_all(format!("SKIPPED: {error}: nothing is emulated\n").as_bytes());
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    #[cfg(feature = "driver")]
    if wanted == "emulated" {
        return;
    }
    #[cfg(feature = "driver")]
    match Driver::open(0, Some(folder)) {
        Ok(device) => test(&OnDevice { device: Target::Gpu(device) }),
        Err(error) if wanted == "gpu" => panic!("{error}"),
        Err(error) => {
            let _ = std::io::stderr()
                .write_all(format!("SKIPPED: {error}: nothing is run on a GPU\n").as_bytes());
        }
    }
}

/// A device that a test runs on.
pub struct OnDevice {
    device: Target,
}

enum Target {
    Emulated(Emulator),
    #[cfg(feature = "driver")]
    Gpu(Driver),
}

/// The same call of either device. `each!(self, device => device.name())` becomes a match with that
/// call in every arm.
macro_rules! each {
    ($own:ident, $device:ident => $call:expr) => {
        match &$own.device {
            Target::Emulated($device) => $call,
            #[cfg(feature = "driver")]
            Target::Gpu($device) => $call,
        }
    };
}

/// Where the parts of a matrix's inputs are, and how many there are.
#[derive(Clone, Copy)]
pub struct Inputs {
    pub floats: Address,
    pub codes: Address,
    pub scales: Address,
    pub sums: Address,
    rows: usize,
    columns: usize,
}

/// What a kernel left of a matrix's inputs.
#[derive(Debug, PartialEq)]
pub struct Quantized {
    pub codes: Vec<u8>,
    pub scales: Vec<u32>,
    pub sums: Vec<u32>,
}

impl OnDevice {
    pub fn bytes(&self, bytes: &[u8]) -> Address {
        let address = self.room(bytes.len());
        each!(self, device => device.write(address, bytes)).unwrap();
        address
    }

    /// Memory that nobody wrote to.
    pub fn room(&self, bytes: usize) -> Address {
        each!(self, device => device.allocate("a test", bytes as u64)).unwrap()
    }

    pub fn floats(&self, values: &[f32]) -> Address {
        self.bytes(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>())
    }

    pub fn numbers(&self, values: &[u32]) -> Address {
        self.bytes(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>())
    }

    pub fn read_bytes(&self, from: Address, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        each!(self, device => device.read(from, &mut bytes)).unwrap();
        bytes
    }

    pub fn read_numbers(&self, from: Address, count: usize) -> Vec<u32> {
        let bytes = self.read_bytes(from, count * 4);
        bytes.chunks_exact(4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap())).collect()
    }

    pub fn read_floats(&self, from: Address, count: usize) -> Vec<f32> {
        self.read_numbers(from, count).into_iter().map(f32::from_bits).collect()
    }

    pub fn run(&self, kernel: Kernel, grid: [usize; 3], shared_bytes: usize, params: Params) {
        let mut launch =
            Launch::new(kernel, grid.map(|blocks| Extent::Fixed(blocks as u32)), params);
        launch.shared_bytes = shared_bytes as u32;
        #[cfg(feature = "driver")]
        if let (Target::Gpu(_), Ok(file)) = (&self.device, std::env::var(LAUNCH)) {
            std::fs::write(file, format!("{}\n{launch:#?}\n", kernel.name())).unwrap();
        }
        each!(self, device => device.run(&[launch], 1)).unwrap();
    }

    /// Room for inputs.
    pub fn inputs_room(&self, rows: usize, columns: usize) -> Inputs {
        let count = rows * groups(columns);
        Inputs {
            floats: self.room(rows * columns * 4),
            codes: self.room(count * 64),
            scales: self.room(count * 4),
            sums: self.room(count * 4),
            rows,
            columns,
        }
    }

    /// Inputs as scalar quantizes them.
    pub fn inputs(&self, rows: usize, columns: usize, floats: &[f32]) -> Inputs {
        let truth = quantize(rows, columns, floats);
        Inputs {
            floats: self.floats(floats),
            codes: self.bytes(&truth.codes),
            scales: self.numbers(&truth.scales),
            sums: self.numbers(&truth.sums),
            rows,
            columns,
        }
    }

    pub fn quantized(&self, inputs: &Inputs) -> Quantized {
        let count = inputs.rows * groups(inputs.columns);
        Quantized {
            codes: self.read_bytes(inputs.codes, count * 64),
            scales: self.read_numbers(inputs.scales, count),
            sums: self.read_numbers(inputs.sums, count),
        }
    }

    /// The rows' floats.
    pub fn input_floats(&self, inputs: &Inputs) -> Vec<f32> {
        self.read_floats(inputs.floats, inputs.rows * inputs.columns)
    }
}

impl Inputs {
    /// The same with other floats.
    pub fn with_floats(self, floats: Address) -> Self {
        Self { floats, ..self }
    }

    pub fn params(&self) -> Params {
        Params::new()
            .address(self.floats)
            .address(self.codes)
            .address(self.scales)
            .address(self.sums)
    }
}

/// What scalar makes of rows of floats.
pub fn quantize(rows: usize, columns: usize, floats: &[f32]) -> Quantized {
    let count = groups(columns);
    let mut codes = vec![0i8; rows * count * 64];
    let (mut scales, mut sums) = (vec![0.0; rows * count], vec![0.0; rows * count]);
    for row in 0..rows {
        let span = row * count..(row + 1) * count;
        (scalar::TABLE.quantize)(ActivationsMut {
            floats: &floats[row * columns..(row + 1) * columns],
            codes: &mut codes[span.start * 64..span.end * 64],
            scales: &mut scales[span.clone()],
            sums: &mut sums[span],
        });
    }
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
    Quantized {
        codes: codes.into_iter().map(i8::cast_unsigned).collect(),
        scales: bits(scales),
        sums: bits(sums),
    }
}

//! The emulation's process: how it is built, and what goes through its pipes.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard};

use crate::address::Address;
use crate::device::{Device, DeviceMemory, HostBytes, Inside, Raw, Recorded};
use crate::error::CudaError;
use crate::kernel::Kernel;
use crate::launch::Launch;
use crate::sources;

const SHIM: &str = include_str!("../../host/emulate.h");
const MAIN: &str = include_str!("../../host/main.cpp");

/// Contraction is off as on the device; fortified jumps would take a switch between fibers for an
/// attack.
const FLAGS: [&str; 7] = [
    "-std=c++17",
    "-O1",
    "-ffp-contract=off",
    "-fno-strict-aliasing",
    "-U_FORTIFY_SOURCE",
    "-w",
    "-DHARDTACK_HOST",
];

/// In which order a block's threads are run between two barriers. Kernels without races give the
/// same either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The first thread first.
    Forwards,
    /// The last thread first.
    Backwards,
}

/// The emulated device.
#[derive(Debug)]
pub struct Emulator {
    program: PathBuf,
    pipes: Mutex<Pipes>,
}

#[derive(Debug)]
struct Pipes {
    child: Child,
    to: BufWriter<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Emulator {
    /// Builds it in a folder, unless that was done before, and starts it; with tensor cores, or
    /// like a device without them.
    ///
    /// # Errors
    /// There is no C++ compiler, or it fails, or the process does not start.
    pub fn start(folder: &Path, tensor_cores: bool, order: Order) -> Result<Self, CudaError> {
        let program = build(folder, tensor_cores)?;
        let ended = |source| CudaError::Emulation { path: program.clone(), source };
        let word = if order == Order::Backwards { "backwards" } else { "forwards" };
        let mut command = Command::new(&program);
        let mut child = command
            .arg(word)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(ended)?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            unreachable!("both are pipes");
        };
        let pipes =
            Pipes { child, to: BufWriter::with_capacity(1 << 16, to), from: BufReader::new(from) };
        Ok(Self { program, pipes: Mutex::new(pipes) })
    }

    /// The processes' pipes, whatever another thread that held them did.
    fn pipes(&self) -> MutexGuard<'_, Pipes> {
        self.pipes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn ended(&self, source: io::Error) -> CudaError {
        CudaError::Emulation { path: self.program.clone(), source }
    }
}

impl Device for Emulator {
    fn name(&self) -> String {
        "the emulation".to_owned()
    }

    fn memory(&self) -> Result<DeviceMemory, CudaError> {
        Ok(DeviceMemory { free: u64::MAX, of_host: false })
    }

    fn raw(&self, _: Inside) -> &dyn Raw {
        self
    }
}

impl Raw for Emulator {
    fn allocate(&self, what: &'static str, bytes: u64) -> Result<Address, CudaError> {
        let pipes = &mut *self.pipes();
        let mut address = [0; 8];
        pipes
            .to
            .write_all(b"a")
            .and_then(|()| pipes.to.write_all(&bytes.to_le_bytes()))
            .and_then(|()| pipes.to.flush())
            .and_then(|()| pipes.from.read_exact(&mut address))
            .map_err(|source| self.ended(source))?;
        match u64::from_le_bytes(address) {
            0 => Err(CudaError::Memory { what, asked: bytes, free: 0 }),
            address => Ok(Address(address)),
        }
    }

    /// All memory goes with the process.
    fn free(&self, _: Address) {}

    /// It is another process.
    fn share(&self, _: &HostBytes, _: &[u8]) -> Result<Option<Address>, CudaError> {
        Ok(None)
    }

    fn write(&self, to: Address, bytes: &[u8]) -> Result<(), CudaError> {
        let pipes = &mut *self.pipes();
        let header = [&b"w"[..], &to.0.to_le_bytes(), &(bytes.len() as u64).to_le_bytes()].concat();
        let sent = pipes.to.write_all(&header).and_then(|()| pipes.to.write_all(bytes));
        sent.map_err(|source| self.ended(source))
    }

    fn read(&self, from: Address, bytes: &mut [u8]) -> Result<(), CudaError> {
        let pipes = &mut *self.pipes();
        let header =
            [&b"r"[..], &from.0.to_le_bytes(), &(bytes.len() as u64).to_le_bytes()].concat();
        let sent = pipes.to.write_all(&header).and_then(|()| pipes.to.flush());
        sent.and_then(|()| pipes.from.read_exact(bytes)).map_err(|source| self.ended(source))
    }

    fn copy(&self, from: Address, to: Address, bytes: u64) -> Result<(), CudaError> {
        let pipes = &mut *self.pipes();
        let command =
            [&b"c"[..], &from.0.to_le_bytes(), &to.0.to_le_bytes(), &bytes.to_le_bytes()].concat();
        pipes.to.write_all(&command).map_err(|source| self.ended(source))
    }

    fn run(&self, launches: &[Launch], tokens: u32) -> Result<(), CudaError> {
        let pipes = &mut *self.pipes();
        for launch in launches {
            let mut bytes = b"l".to_vec();
            let grid = launch.grid.map(|extent| extent.blocks(tokens));
            let threads = launch.kernel.threads();
            let numbers =
                [launch.kernel as u32, grid[0], grid[1], grid[2], threads, launch.shared_bytes];
            bytes.extend(numbers.into_iter().flat_map(u32::to_le_bytes));
            bytes.extend((launch.params.len() as u32).to_le_bytes());
            bytes.extend(&launch.params);
            pipes.to.write_all(&bytes).map_err(|source| self.ended(source))?;
        }
        Ok(())
    }

    fn record(&self, launches: &[Launch], tokens: u32) -> Result<Recorded, CudaError> {
        Ok(Box::new((launches.to_vec(), tokens)))
    }

    fn replay(&self, recorded: &Recorded) -> Result<(), CudaError> {
        let (launches, tokens): &(Vec<Launch>, u32) =
            recorded.downcast_ref().expect("what an emulation recorded");
        self.run(launches, *tokens)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let pipes = &mut *self.pipes();
        // It may have ended by itself; then there is nothing left to end.
        let _ = pipes.child.kill();
        let _ = pipes.child.wait();
    }
}

/// Builds the program under a name that its sources and flags decide, one thread at a time.
fn build(folder: &Path, tensor_cores: bool) -> Result<PathBuf, CudaError> {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _alone = BUILDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let failed = |error: io::Error| CudaError::EmulationBuild { reason: error.to_string() };
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let entries: String =
        Kernel::ALL.iter().map(|kernel| format!(" X({})", kernel.name())).collect();
    let kernels = format!("{}\n#define KERNELS(X){entries}\n", sources::program());
    let cores = format!("-DTENSOR_CORES={}", u32::from(tensor_cores));

    let mut hasher = DefaultHasher::new();
    (&kernels, SHIM, MAIN, FLAGS, &cores, &compiler).hash(&mut hasher);
    let name = format!("hardtack-emulator-{:016x}", hasher.finish());
    let program = folder.join(&name);
    if program.is_file() {
        return Ok(program);
    }
    // Built aside and then renamed, so that nobody runs half of it.
    let aside = folder.join(format!("{name}-{}", std::process::id()));
    fs::create_dir_all(&aside).map_err(failed)?;
    for (file, text) in [("kernels.h", kernels.as_str()), ("emulate.h", SHIM), ("main.cpp", MAIN)] {
        fs::write(aside.join(file), text).map_err(failed)?;
    }
    let unfinished = aside.join("emulator");
    let output = Command::new(&compiler)
        .args(FLAGS)
        .arg(cores)
        .arg("-o")
        .arg(&unfinished)
        .arg(aside.join("main.cpp"))
        .output()
        .map_err(|source| CudaError::NoCompiler { compiler, source })?;
    if !output.status.success() {
        let reason =
            String::from_utf8_lossy(&output.stderr).lines().take(3).collect::<Vec<_>>().join("; ");
        return Err(CudaError::EmulationBuild { reason });
    }
    fs::rename(&unfinished, &program).map_err(failed)?;
    fs::remove_dir_all(&aside).map_err(failed)?;
    Ok(program)
}

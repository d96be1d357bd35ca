//! The machine a run was made on, for its manifest.

use serde::Serialize;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

/// What about a machine decides how fast and, in the last bits, with which numbers a run ends.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// The processor's name.
    cpu: String,
    /// Its architecture, e.g. `x86_64`.
    arch: &'static str,
    /// Cores that the process may use.
    cores: usize,
    /// Threads that operations use.
    threads: usize,
    /// Instruction set that operations use, e.g. `AVX-512`.
    instructions: &'static str,
    /// Which way operations went that have a fused form, e.g. `network: fused`.
    paths: Vec<String>,
    /// Main memory.
    memory_bytes: u64,
    /// Operating system and version.
    os: String,
}

impl Machine {
    /// This machine.
    pub fn this() -> Self {
        let what = RefreshKind::nothing()
            .with_memory(MemoryRefreshKind::nothing().with_ram())
            .with_cpu(CpuRefreshKind::nothing());
        // A system that tells nothing about itself leaves gaps, no error.
        let system = System::new_with_specifics(what).ok();
        let cpu = system.as_ref().and_then(|system| system.cpus().first());
        Self {
            cpu: cpu
                .map(|cpu| cpu.brand().trim().to_string())
                .unwrap_or_default(),
            arch: std::env::consts::ARCH,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            threads: rhapsode_script::bench::threads(),
            instructions: rhapsode_script::bench::instructions(),
            paths: Vec::new(),
            memory_bytes: system.as_ref().map_or(0, System::total_memory),
            os: System::long_os_version().unwrap_or_else(|_| std::env::consts::OS.to_string()),
        }
    }

    /// Takes in which way operations went so far.
    pub fn note_paths(&mut self) {
        self.paths = rhapsode_script::bench::paths();
    }
}

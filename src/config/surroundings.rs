//! What the process finds around it, read once so that a test can say otherwise.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::DEFAULT_FILE;

/// Where state is kept on a host that is set up for it.
const SYSTEM_STATE_DIR: &str = "/var/lib/radhold";

/// Where state is kept when somebody just tries radhold out: beside them.
const LOCAL_STATE_DIR: &str = "radhold-data";

/// What a configuration depends on beside its file and flags.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// The environment.
    pub variables: BTreeMap<String, String>,
    /// The file that is read when nobody names one and it is there.
    pub default_file: Option<PathBuf>,
    /// Where state is kept when nobody says.
    pub state_dir: PathBuf,
    /// The name of this host.
    pub host_name: String,
    /// Number of cores.
    pub cores: usize,
}

impl Surroundings {
    /// As they are for this process.
    pub fn of_this_process() -> Self {
        let variables: BTreeMap<String, String> = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect();
        Self {
            default_file: Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists()),
            state_dir: state_dir(variables.get("STATE_DIRECTORY")),
            host_name: host_name(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            variables,
        }
    }
}

/// systemd's `$STATE_DIRECTORY` (the first, when it names several), else the system's for root or its owner, else here.
fn state_dir(given: Option<&String>) -> PathBuf {
    if let Some(first) = given.and_then(|dirs| dirs.split(':').next()).filter(|dir| !dir.is_empty()) {
        return PathBuf::from(first);
    }
    // The owner of /proc/self is the effective user.
    let me = std::fs::metadata("/proc/self").map(|proc| proc.uid()).ok();
    let system = Path::new(SYSTEM_STATE_DIR);
    let owner = std::fs::metadata(system).map(|dir| dir.uid()).ok();
    if me == Some(0) || (me.is_some() && me == owner) { system.to_owned() } else { PathBuf::from(LOCAL_STATE_DIR) }
}

fn host_name() -> String {
    ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .into_iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .map(|name| name.trim().to_owned())
        .find(|name| !name.is_empty())
        .unwrap_or_else(|| "radhold".to_owned())
}

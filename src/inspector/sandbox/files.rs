//! Landlock: which files an inspector may read. It may write none.

use std::env;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};

use crate::inspector::Setup;

/// What of Landlock is asked for: all up to this, as far as the kernel has it.
const WANTED: ABI = ABI::V6;

/// Where libraries and what they need lie, on any machine. Of `/etc` only what names, addresses, time and certificates take.
const SYSTEM: [&str; 26] = [
    "/usr",
    "/lib",
    "/lib64",
    "/proc",
    "/sys",
    "/dev/urandom",
    "/dev/random",
    "/dev/zero",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/gnutls",
    "/etc/crypto-policies",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/localtime",
    "/etc/passwd",
    "/etc/ld.so.cache",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
];

/// Devices that are read and written: nothing is kept there.
const DEVICES: [&str; 8] = [
    "/dev/null",
    "/dev/dri",
    "/dev/nvidiactl",
    "/dev/nvidia0",
    "/dev/nvidia-uvm",
    "/dev/nvidia-uvm-tools",
    "/dev/nvidia-modeset",
    "/dev/nvidia-caps",
];

/// Variables that name files or folders, several with a colon in between.
const VARIABLES: [&str; 12] = [
    "LD_LIBRARY_PATH",
    "ORT_DYLIB_PATH",
    "SLUICEGATE_ASSETS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIO_EXTRA_MODULES",
    "GIO_MODULE_DIR",
    "GST_PLUGIN_PATH",
    "GST_PLUGIN_PATH_1_0",
    "GST_PLUGIN_SYSTEM_PATH",
    "GST_PLUGIN_SYSTEM_PATH_1_0",
    "GST_REGISTRY",
];

/// Puts it in force for this thread and all that it starts; what is lacking, where something is.
pub(super) fn restrict(setup: &Setup) -> Option<String> {
    match landlock(setup) {
        Ok(RulesetStatus::FullyEnforced) => None,
        Ok(RulesetStatus::PartiallyEnforced) => Some(
            "this kernel has Landlock in part: files cannot be written, and ports or signals may not be refused".into(),
        ),
        Ok(RulesetStatus::NotEnforced) => Some("this kernel has no Landlock: files are not out of reach".into()),
        Err(error) => Some(format!("Landlock cannot be used, files are not out of reach: {error}")),
    }
}

fn landlock(setup: &Setup) -> Result<RulesetStatus, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let device = read | AccessFs::WriteFile | AccessFs::IoctlDev;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(WANTED))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::from_all(WANTED))?
        .create()?
        .add_rules(path_beneath_rules(SYSTEM, read))?
        .add_rules(path_beneath_rules(readable(setup), read))?
        .add_rules(path_beneath_rules(DEVICES, device))?
        .restrict_self()?;
    Ok(status.ruleset)
}

/// What this installation and this configuration need. What is not there is passed over.
fn readable(setup: &Setup) -> Vec<PathBuf> {
    let Setup { source, model, banks, folders, .. } = setup;
    let mut paths = vec![banks.clone(), "assets".into()];
    paths.extend(folders.iter().cloned());
    paths.extend(source.pipelines.clone());
    paths.extend(model.assets.clone());
    paths.extend(model.calibrations.iter().cloned());
    let files = model.load.iter().map(Path::new).chain(model.runtime.as_deref());
    paths.extend(files.filter_map(Path::parent).filter(|folder| *folder != Path::new("")).map(Path::to_owned));
    paths.extend(env::current_exe());
    for variable in VARIABLES {
        let named = env::var_os(variable).unwrap_or_default();
        paths.extend(env::split_paths(&named).filter(|path| path.is_absolute()));
    }
    // A library's neighbours are loaded with it.
    let runtime = env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    paths.extend(runtime.as_deref().and_then(Path::parent).map(Path::to_owned));
    let home = env::var_os("HOME").map(PathBuf::from);
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(home.as_ref()?.join(".cache")));
    paths.extend(cache.map(|cache| cache.join("gstreamer-1.0")));
    paths.extend(home.map(|home| home.join(".local/share/gstreamer-1.0")));
    paths
}

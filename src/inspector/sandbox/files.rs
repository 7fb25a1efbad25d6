//! Landlock: which files an inspector may read. It may write none.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{env, fs};

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

/// Those of the above that are single files and say, while streams are pulled, how names become addresses.
const NAMES: [&str; 5] = ["/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf"];

/// Devices that are read and written: nothing is kept there. Beside them each NVIDIA card has one of its own.
const DEVICES: [&str; 7] = [
    "/dev/null",
    "/dev/dri",
    "/dev/nvidiactl",
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
        .add_rules(path_beneath_rules(cards(), device))?
        .restrict_self()?;
    Ok(status.ruleset)
}

/// The devices `/dev/nvidia0`, `/dev/nvidia1` and so on.
fn cards() -> Vec<PathBuf> {
    let Ok(devices) = fs::read_dir("/dev") else { return Vec::new() };
    let paths = devices.filter_map(|device| Some(device.ok()?.path()));
    paths.filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_card)).collect()
}

fn is_card(device: &str) -> bool {
    let number = device.strip_prefix("nvidia").unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// What an inspector needs while it works: how names become addresses, banks, and where models and streams lie.
pub(super) fn needed(setup: &Setup) -> Vec<PathBuf> {
    let Setup { source, model, banks, folders, .. } = setup;
    let mut paths: Vec<PathBuf> = NAMES.iter().map(PathBuf::from).collect();
    paths.push(banks.clone());
    paths.extend(folders.iter().cloned());
    paths.extend(source.pipelines.clone());
    paths.extend(model.assets.clone());
    paths.extend(model.calibrations.iter().cloned());
    paths.extend(model.runtime.clone());
    paths.extend(model.load.iter().map(PathBuf::from));
    paths
}

/// What lies where an inspector reads while it works, as far as that is not in a folder that it may read in any case.
///
/// Landlock's rules are on files and folders, not on their names: what is put in the place of one of them is out of reach of
/// processes that were started before.
#[derive(Debug)]
pub struct Reached(Vec<(PathBuf, Option<Place>)>);

/// Where a name leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Into a folder that is within reach.
    Within,
    /// To this inode of this device.
    At(u64, u64),
}

impl Reached {
    /// As it is now.
    pub fn new(setup: &Setup) -> Self {
        let paths = NAMES.iter().map(PathBuf::from).chain([setup.banks.clone()]);
        let known = |path: PathBuf| {
            let place = place(&path);
            (path, place)
        };
        Self(paths.map(known).collect())
    }

    /// Looks again; the first that is another one than it was. What is gone may come back as it was.
    pub fn replaced(&mut self) -> Option<&Path> {
        let mut replaced = None;
        for (path, before) in &mut self.0 {
            let now = place(path);
            if now.is_some() && now != *before {
                *before = now;
                replaced.get_or_insert(&**path);
            }
        }
        replaced
    }
}

fn place(path: &Path) -> Option<Place> {
    let path = fs::canonicalize(path).ok()?;
    let within = |folder: &&str| path.starts_with(folder) && path != Path::new(folder);
    if SYSTEM.iter().any(within) {
        return Some(Place::Within);
    }
    let facts = fs::metadata(&path).ok()?;
    Some(Place::At(facts.dev(), facts.ino()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_card_is_known_by_its_number() {
        let devices = ["nvidia0", "nvidia12", "nvidia", "nvidiactl", "nvidia-uvm", "null", "nvidia0p1"];
        assert_eq!(devices.map(is_card), [true, true, false, false, false, false, false]);
    }

    #[test]
    fn what_is_put_in_the_place_of_banks_is_noticed_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["one", "two"] {
            fs::create_dir(at(version)).unwrap();
        }
        let switch = |version: &str| {
            std::os::unix::fs::symlink(at(version), at("new")).unwrap();
            fs::rename(at("new"), at("banks")).unwrap();
        };
        switch("one");
        let mut reached = Reached(vec![(at("banks"), place(&at("banks")))]);
        assert_eq!(reached.replaced(), None);
        fs::write(at("one/bank"), "more").unwrap();
        assert_eq!(reached.replaced(), None, "what is in a folder may change");
        switch("two");
        assert_eq!(reached.replaced(), Some(&*at("banks")));
        assert_eq!(reached.replaced(), None);
        fs::remove_file(at("banks")).unwrap();
        assert_eq!(reached.replaced(), None, "gone");
        switch("two");
        assert_eq!(reached.replaced(), None, "and back");
    }
}

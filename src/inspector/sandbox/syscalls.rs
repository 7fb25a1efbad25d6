//! Seccomp: which system calls an inspector is refused.
//!
//! A list of what is refused rather than of what is allowed: GStreamer's plugins, decoders and drivers of accelerators differ
//! from machine to machine, and a call that is missing from a list of theirs would break them where nobody tried.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter_all_threads,
};

/// Refused whatever they are called with.
const REFUSED: [c_long; 48] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_open_by_handle_at,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
];

/// As above, on processors that have them.
#[cfg(target_arch = "x86_64")]
const ELSEWHERE: [c_long; 4] = [libc::SYS_fork, libc::SYS_vfork, libc::SYS_ioperm, libc::SYS_iopl];
#[cfg(not(target_arch = "x86_64"))]
const ELSEWHERE: [c_long; 0] = [];

/// Puts it in force for all threads; what is lacking, where something is.
pub(super) fn restrict() -> Option<String> {
    let applied = programs().map_err(|error| error.to_string()).and_then(|programs| {
        programs.iter().try_for_each(|program| apply_filter_all_threads(program).map_err(|error| error.to_string()))
    });
    applied.err().map(|error| format!("seccomp cannot be used, system calls are not refused: {error}"))
}

fn programs() -> Result<[BpfProgram; 2], BackendError> {
    let mut refused: BTreeMap<c_long, Vec<SeccompRule>> =
        REFUSED.iter().chain(&ELSEWHERE).map(|call| (*call, Vec::new())).collect();
    // A process that is no thread of this one.
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let process = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(thread), 0)?;
    refused.insert(libc::SYS_clone, vec![SeccompRule::new(vec![process])?]);
    // Signals to others; `abort` signals its own process.
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        let own = u64::from(std::process::id());
        let other = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, own)?;
        refused.insert(call, vec![SeccompRule::new(vec![other])?]);
    }
    // What it is to make is in memory, where no filter can look: whoever calls it does without and calls `clone`.
    let unknown = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    Ok([program(refused, libc::EPERM)?, program(unknown, libc::ENOSYS)?])
}

fn program(calls: BTreeMap<c_long, Vec<SeccompRule>>, answer: i32) -> Result<BpfProgram, BackendError> {
    let arch = std::env::consts::ARCH.try_into()?;
    let refuse = SeccompAction::Errno(answer.unsigned_abs());
    SeccompFilter::new(calls, SeccompAction::Allow, refuse, arch)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_can_be_built() {
        let [refusing, unknown] = programs().unwrap();
        assert!(refusing.len() > REFUSED.len() && !unknown.is_empty());
    }
}

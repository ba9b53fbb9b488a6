//! The default filter of system calls.
//!
//! Allowed is what programs in containers need; everything else is refused with EPERM. Left out are calls that reach
//! beyond a container (mounting, modules, keys, clocks, `kexec`, `bpf`, io_uring), unless the capability that guards
//! them was given. `clone` may not make namespaces; `clone3`, whose flags no filter can see, is answered with ENOSYS,
//! so that C libraries fall back to `clone`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// Calls that every service may make. Names of other architectures and of newer kernels are ignored by the runtimes.
const ALLOWED: &str = "\
accept accept4 access adjtimex alarm arch_prctl arm_fadvise64_64 arm_sync_file_range bind breakpoint brk cachestat \
cacheflush capget capset chdir chmod chown chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 \
clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat \
dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old \
eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark \
fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork \
fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue \
futex_time64 futex_wait futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu getcwd getdents \
getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid \
getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid \
getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init \
inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup \
io_submit ioctl ioprio_get ioprio_set ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self \
lchown lchown32 lgetxattr link linkat listen listxattr listxattrat llistxattr lremovexattr lseek _llseek lsetxattr \
lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat \
mlock mlock2 mlockall mmap mmap2 modify_ldt mprotect mq_getsetattr mq_notify mq_open mq_timedreceive \
mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync \
munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause pidfd_open \
pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 \
prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink readlinkat \
readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename renameat \
renameat2 restart_syscall riscv_flush_icache riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask \
rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo \
sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler \
sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler \
sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg \
sendto set_robust_list set_thread_area set_tid_address set_tls setfsgid setfsgid32 setfsuid setfsuid32 setgid \
setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid \
setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr setxattrat shmat shmctl shmdt \
shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn sigsuspend socketcall socketpair splice stat \
stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range sync_file_range2 syncfs sysinfo tee tgkill time \
timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create \
timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask \
uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write \
writev process_vm_readv process_vm_writev ptrace";

/// What a capability brings with it.
const BY_CAPABILITY: [(&str, &str); 13] = [
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount \
         open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module init_module finit_module"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("CAP_SYS_RAWIO", "iopl ioperm"),
    ("CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
];

/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
const NAMESPACE_FLAGS: u64 = 0x7E02_0000;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
/// AF_VSOCK reaches the host of a virtual machine.
const AF_VSOCK: u64 = 40;
/// The personalities that programs ask for: Linux, 32 bits, no randomness, and to ask.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF];

/// The filter for a service with these capabilities, on a machine of this architecture (as Rust names it).
pub(crate) fn filter(capabilities: &BTreeSet<&str>, architecture: &str) -> Value {
    let all = |names: &str| json!({"names": names.split_whitespace().collect::<Vec<_>>(), "action": "SCMP_ACT_ALLOW"});
    let if_argument = |name: &str, index: u32, value: u64, other: Option<u64>, op: &str| {
        let argument = match other {
            None => json!({"index": index, "value": value, "op": op}),
            Some(other) => json!({"index": index, "value": value, "valueTwo": other, "op": op}),
        };
        json!({"names": [name], "action": "SCMP_ACT_ALLOW", "args": [argument]})
    };
    let mut calls = vec![all(ALLOWED), if_argument("socket", 0, AF_VSOCK, None, "SCMP_CMP_NE")];
    calls.extend(PERSONALITIES.iter().map(|value| if_argument("personality", 0, *value, None, "SCMP_CMP_EQ")));
    let given = BY_CAPABILITY.iter().filter(|(capability, _)| capabilities.contains(capability));
    calls.extend(given.map(|(_, names)| all(names)));
    if !capabilities.contains("CAP_SYS_ADMIN") {
        // On s390 the flags are the second argument.
        let flags = u32::from(architecture == "s390x");
        calls.push(if_argument("clone", flags, NAMESPACE_FLAGS, Some(0), "SCMP_CMP_MASKED_EQ"));
        calls.push(json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS}));
    }
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": EPERM,
        "architectures": architectures(architecture),
        "syscalls": calls,
    })
}

/// The machine's own calls and those of the programs with narrower words that it runs.
fn architectures(architecture: &str) -> &'static [&'static str] {
    match architecture {
        "x86_64" => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "x86" => &["SCMP_ARCH_X86"],
        "aarch64" => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        "arm" => &["SCMP_ARCH_ARM"],
        "riscv64" => &["SCMP_ARCH_RISCV64"],
        "mips" => &["SCMP_ARCH_MIPS"],
        "mips64" => &["SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS"],
        "powerpc64" => &["SCMP_ARCH_PPC64LE"],
        "s390x" => &["SCMP_ARCH_S390X", "SCMP_ARCH_S390"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(filter: &Value, name: &str) -> bool {
        filter["syscalls"].as_array().unwrap().iter().any(|rule| {
            let named = rule["names"].as_array().unwrap().iter().any(|known| known == name);
            named && rule["action"] == "SCMP_ACT_ALLOW" && rule.get("args").is_none()
        })
    }

    #[test]
    fn what_reaches_beyond_needs_its_capability() {
        let usual = umiak_spec::service::Capabilities::default();
        let filter_usual = filter(&usual.effective(), "x86_64");
        for name in ["read", "openat2", "statx", "chroot", "execve", "futex"] {
            assert!(allowed(&filter_usual, name), "{name}");
        }
        for name in
            ["mount", "bpf", "init_module", "clone", "clone3", "reboot", "keyctl", "io_uring_setup", "kexec_load"]
        {
            assert!(!allowed(&filter_usual, name), "{name}");
        }
        let admin = filter(&BTreeSet::from(["CAP_SYS_ADMIN"]), "x86_64");
        assert!(allowed(&admin, "mount") && allowed(&admin, "clone3") && !allowed(&admin, "reboot"));
        assert!(!allowed(&admin, "chroot"));
    }
}

/**
 * A program that gives up rights for good and then becomes another one, in Perl, because that is the one interpreter which
 * every Debian and Fedora has and which can make any system call. It is called as
 * `perl -e TEXT ARCH PARTS r:PATH… w:PATH… -- COMMAND…`: ARCH as Node names it, PARTS `landlock`, `seccomp` or both with a comma.
 *
 * - Landlock (Linux 5.13): only what lies below an `r:` path can be read and executed, below a `w:` path read and written;
 *   no TCP (6.7), no signals to others (6.12). https://docs.kernel.org/userspace-api/landlock.html
 * - Seccomp: no sockets of any kind, no new processes (threads are fine), no signals to others, and none of the calls that
 *   inspect other processes, mount, change files by their path, or go around this filter (io_uring opens sockets of its own).
 *
 * Exit code 90 to 99 says which step the kernel refused.
 */
export const confinement = `
use strict;
my ($machine, $parts, @paths) = (shift @ARGV, shift @ARGV);
my $is_x86 = $machine eq "x64";
exit 90 unless $is_x86 || $machine eq "arm64";
while (@ARGV) { my $next = shift @ARGV; last if $next eq "--"; push @paths, $next; }
my $prctl = $is_x86 ? 157 : 167;
syscall($prctl, 38, 1, 0, 0, 0) == 0 or exit 91; # PR_SET_NO_NEW_PRIVS

if ($parts =~ /landlock/) {
  my $abi = syscall(444, 0, 0, 1); # landlock_create_ruleset with LANDLOCK_CREATE_RULESET_VERSION
  exit 92 if $abi < 1;
  my $handled = $abi >= 5 ? 0xffff : $abi >= 3 ? 0x7fff : $abi == 2 ? 0x3fff : 0x1fff;
  my $attr = pack("Q", $handled);
  $attr .= pack("Q", 3) if $abi >= 4; # bind and connect of TCP
  $attr .= pack("Q", 3) if $abi >= 6; # abstract unix sockets, signals
  my $rules = syscall(444, $attr, length($attr), 0);
  exit 93 if $rules < 0;
  my ($read, $write, $file) = (0x0d, 0x61be & $handled, 0xc007); # of a file only: execute, write, read, truncate, ioctl
  for my $path (@paths) {
    my ($kind, $name) = $path =~ /^([rw]):(.*)$/s or exit 94;
    sysopen(my $handle, $name, 0x200000) or next; # O_PATH; what is not there needs no rule
    my $access = $kind eq "r" ? $read : $write;
    $access &= $file & $handled unless -d $name;
    my $rule = pack("Ql", $access, fileno($handle));
    syscall(445, $rules, 1, $rule, 0) == 0 or exit 95;
    close($handle);
  }
  syscall(446, $rules, 0) == 0 or exit 96;
}

if ($parts =~ /seccomp/) {
  my ($eperm, $enosys, $allow) = (0x00050001, 0x00050026, 0x7fff0000);
  # socket, ptrace, process_vm_readv and _writev, unshare, setns, mount, bpf, perf_event_open, userfaultfd, keyctl,
  # io_uring_setup, pidfd_getfd; tkill, rt_sigqueueinfo, rt_tgsigqueueinfo, pidfd_send_signal; what changes files without
  # opening them, which Landlock lets pass: chmod, chown, setxattr, utime and their like; on x86 also fork and vfork
  my @denied = $is_x86
    ? (41, 101, 310, 311, 272, 308, 165, 321, 298, 323, 250, 425, 438, 200, 129, 297, 424,
      90, 91, 268, 452, 92, 93, 94, 260, 188, 189, 190, 197, 198, 199, 132, 235, 261, 280, 57, 58)
    : (198, 117, 270, 271, 97, 268, 40, 280, 241, 282, 219, 425, 438, 130, 138, 240, 424,
      52, 53, 452, 54, 55, 5, 6, 7, 14, 15, 16, 88);
  my ($clone, @kill) = $is_x86 ? (56, 62, 234) : (220, 129, 131);
  # Instruction, where to go when it holds and when not, operand. The program ends in what the names stand for.
  my @steps = ([0x20, 0, 0, 4], [0x15, 1, 0, $is_x86 ? 0xc000003e : 0xc00000b7], [0x06, 0, 0, $eperm], [0x20, 0, 0, 0]);
  push @steps, [0x35, "deny", 0, 0x40000000]; # calls of the x32 kind have other numbers
  push @steps, [0x15, "enosys", 0, 435]; # clone3 hides its flags in memory; the C library then takes clone
  push @steps, [0x15, "deny", 0, $_] for @denied;
  push @steps, [0x15, "self", 0, $_] for @kill; # kill and tgkill: this process, which keeps its id, and no other
  push @steps, [0x15, 0, "allow", $clone], [0x20, 0, 0, 16], [0x45, "allow", "deny", 0x10000]; # CLONE_THREAD
  my %end = (self => scalar @steps, allow => @steps + 2, deny => @steps + 3, enosys => @steps + 4);
  push @steps, [0x20, 0, 0, 16], [0x15, "allow", "deny", $$];
  push @steps, [0x06, 0, 0, $allow], [0x06, 0, 0, $eperm], [0x06, 0, 0, $enosys];
  my $filter = "";
  for my $at (0 .. $#steps) {
    my ($code, @rest) = @{$steps[$at]};
    my ($true, $false) = map { exists $end{$_} ? $end{$_} - $at - 1 : $_ } @rest[0, 1];
    $filter .= pack("SCCL", $code, $true, $false, $rest[2]);
  }
  my $program = pack("S x![P] P", scalar @steps, $filter);
  syscall($prctl, 22, 2, $program, 0, 0) == 0 or exit 97; # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
}

exec { $ARGV[0] } @ARGV;
exit 98;
`

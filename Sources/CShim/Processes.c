// Interposers: how processes begin and end.
//
// fork needs none: a handler of pthread_atfork tells the Swift half, also for daemon(3) and
// forkpty(3). Running other programs is in Executing.c.
#include "Interpose.h"

/// exit(3), or the return of main.
__attribute__((destructor)) static void fs_end(void) { fs_finalize(); }

FS_INTERPOSE(void, _exit, (int status)) {
  if (!fs_thread_state()->inVforkChild) fs_finalize();
  next__exit(status);
}

FS_INTERPOSE(void, _Exit, (int status)) {
  if (!fs_thread_state()->inVforkChild) fs_finalize();
  next__Exit(status);
}

FS_INTERPOSE(void, quick_exit, (int status)) {
  if (!fs_thread_state()->inVforkChild) fs_finalize();
  next_quick_exit(status);
}

/// The path of the control socket may not exist inside.
FS_INTERPOSE(int, chroot, (const char *path)) {
  if (!fs_thread_state()->inVforkChild) fs_before_chroot();
  return next_chroot(path);
}

__attribute__((used)) FS_HIDDEN int fs_vfork_failed(int error) {
  errno = error;
  return -1;
}

// vfork returns twice on one stack, so it cannot be wrapped in C: what the child does after the
// first return would overwrite the wrapper's frame before the parent returns through it. Written
// out, it keeps the return address in a register, as libc's does, and notes in the thread's state
// (which parent and child share) whether it is the child that runs. The parent runs again only when
// the child has gone.
#if defined(__x86_64__)
__asm__(".hidden fs_tls\n"
        ".text\n"
        ".globl vfork\n"
        ".type vfork, @function\n"
        ".p2align 4\n"
        "vfork:\n"
        ".cfi_startproc\n"
        "  popq %rdi\n"
        ".cfi_adjust_cfa_offset -8\n"
        ".cfi_register %rip, %rdi\n"
        "  movl $58, %eax\n" // SYS_vfork
        "  syscall\n"
        "  pushq %rdi\n"
        ".cfi_adjust_cfa_offset 8\n"
        ".cfi_rel_offset %rip, 0\n"
        "  cmpl $-4095, %eax\n"
        "  jae 1f\n"
        "  xorl %edx, %edx\n"
        "  testl %eax, %eax\n"
        "  sete %dl\n"
        "  movq fs_tls@gottpoff(%rip), %rcx\n"
        "  movl %edx, %fs:(%rcx)\n"
        "  ret\n"
        "1: negl %eax\n"
        "  movl %eax, %edi\n"
        "  jmp fs_vfork_failed\n"
        ".cfi_endproc\n"
        ".size vfork, .-vfork\n");
#elif defined(__aarch64__)
__asm__(".hidden fs_tls\n"
        ".text\n"
        ".globl vfork\n"
        ".type vfork, %function\n"
        ".p2align 4\n"
        "vfork:\n"
        ".cfi_startproc\n"
        "  mov x0, #0x4111\n" // CLONE_VFORK | CLONE_VM | SIGCHLD
        "  mov x1, #0\n"
        "  mov x8, #220\n" // SYS_clone
        "  svc #0\n"
        "  cmn x0, #4095\n"
        "  b.cs 1f\n"
        "  cmp x0, #0\n"
        "  cset w2, eq\n"
        "  adrp x1, :gottprel:fs_tls\n"
        "  ldr x1, [x1, #:gottprel_lo12:fs_tls]\n"
        "  mrs x3, tpidr_el0\n"
        "  str w2, [x3, x1]\n"
        "  ret\n"
        "1: neg w0, w0\n"
        "  b fs_vfork_failed\n"
        ".cfi_endproc\n"
        ".size vfork, .-vfork\n");
#endif
_Static_assert(offsetof(struct fs_thread, inVforkChild) == 0, "vfork writes the first word");

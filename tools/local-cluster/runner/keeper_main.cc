// pod-keeper: the parent of one container's processes, so that none of them outlives local-cluster.
//
//   pod-keeper CONTROL_FD PROGRAM ARGV0 [ARGUMENT…]
//
// It is the subreaper of everything that PROGRAM starts. It ends all of them when PROGRAM ends (as
// a container ends with its first process), when it is told to, and when the control socket closes,
// which the kernel does for a killed local-cluster too.
//
// Over CONTROL_FD it says "started PID", "failed ERRNO" or "exited CODE SIGNAL", one per line, and
// reads single letters: 't' SIGTERM to PROGRAM's process group, 'k' SIGKILL to all.
//
// Small on purpose (libc only): one runs per container.

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

constexpr int kControlFd = 3;

void Say(const char* what, int first, int second) {
  char line[64];
  const int length = snprintf(line, sizeof(line), "%s %d %d\n", what, first, second);
  [[maybe_unused]] const ssize_t written = write(kControlFd, line, length);
}

// The parent's id from /proc/PID/stat; -1 when the process is gone.
pid_t ParentOf(const char* pid) {
  char path[64];
  snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  char text[512];
  const ssize_t length = read(fd, text, sizeof(text) - 1);
  close(fd);
  if (length <= 0) return -1;
  text[length] = '\0';
  // The name may hold anything, so the fields are counted from its closing parenthesis.
  const char* after_name = strrchr(text, ')');
  int parent = -1;
  if (after_name == nullptr || sscanf(after_name + 1, " %*c %d", &parent) != 1) return -1;
  return parent;
}

// Returns how many children got the signal.
int KillChildren() {
  DIR* proc = opendir("/proc");
  if (proc == nullptr) return 0;
  int killed = 0;
  const pid_t self = getpid();
  while (const dirent* entry = readdir(proc)) {
    if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
    if (ParentOf(entry->d_name) != self) continue;
    if (kill(atoi(entry->d_name), SIGKILL) == 0) ++killed;
  }
  closedir(proc);
  return killed;
}

// Grandchildren become children as their parents die, so this goes on until none is left.
void KillAll(pid_t program) {
  kill(-program, SIGKILL);
  while (true) {
    int status = 0;
    const pid_t ended = waitpid(-1, &status, WNOHANG);
    if (ended < 0 && errno == ECHILD) return;
    if (ended > 0) continue;
    if (KillChildren() > 0) waitpid(-1, &status, 0);
  }
}

// The keeper leads the session and has the terminal; the foreground is the program's.
void TakeForeground(pid_t program) {
  if (isatty(STDIN_FILENO) == 0) return;
  signal(SIGTTOU, SIG_IGN);
  tcsetpgrp(STDIN_FILENO, program);
}

[[noreturn]] void RunProgram(const char* path, char** arguments, int failure_fd) {
  setpgid(0, 0);
  TakeForeground(getpid());
  signal(SIGTTOU, SIG_DFL);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  close(kControlFd);
  execv(path, arguments);
  const int error = errno;
  [[maybe_unused]] const ssize_t written = write(failure_fd, &error, sizeof(error));
  _exit(127);
}

// Exit status of `program` if it has ended; reaps everything else that has.
bool ReapProgram(pid_t program, int* status) {
  bool ended = false;
  int any_status = 0;
  for (pid_t pid = 0; (pid = waitpid(-1, &any_status, WNOHANG)) > 0;) {
    if (pid != program) continue;
    *status = any_status;
    ended = true;
  }
  return ended;
}

// Returns false when all must end.
bool ObeyControl(pid_t program) {
  char commands[16];
  const ssize_t length = read(kControlFd, commands, sizeof(commands));
  if (length < 0) return errno == EINTR || errno == EAGAIN;
  if (length == 0) return false;
  for (ssize_t i = 0; i < length; ++i) {
    if (commands[i] == 't') kill(-program, SIGTERM);
    if (commands[i] == 'k') kill(-program, SIGKILL);
  }
  return true;
}

int Supervise(pid_t program, int signal_fd) {
  while (true) {
    pollfd fds[2] = {{kControlFd, POLLIN, 0}, {signal_fd, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) break;
    if (fds[1].revents != 0) {
      signalfd_siginfo info;
      while (read(signal_fd, &info, sizeof(info)) > 0) {
      }
      int status = 0;
      if (ReapProgram(program, &status)) {
        KillAll(program);
        Say("exited", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
            WIFSIGNALED(status) ? WTERMSIG(status) : 0);
        return 0;
      }
    }
    if (fds[0].revents != 0 && !ObeyControl(program)) break;
  }
  KillAll(program);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4 || atoi(argv[1]) != kControlFd || fcntl(kControlFd, F_GETFD) < 0) {
    fprintf(stderr, "pod-keeper is started by local-cluster and is of no use alone\n");
    return 2;
  }
  // Whatever local-cluster had open at that moment must not live on in a container.
  syscall(SYS_close_range, kControlFd + 1, ~0U, 0);
  fcntl(kControlFd, F_SETFD, FD_CLOEXEC);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  prctl(PR_SET_NAME, "pod-keeper");

  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGCHLD);
  sigaddset(&blocked, SIGPIPE);
  sigprocmask(SIG_BLOCK, &blocked, nullptr);
  sigset_t child_signal;
  sigemptyset(&child_signal);
  sigaddset(&child_signal, SIGCHLD);
  const int signal_fd = signalfd(-1, &child_signal, SFD_CLOEXEC | SFD_NONBLOCK);
  int failure[2];
  if (signal_fd < 0 || pipe2(failure, O_CLOEXEC) != 0) {
    Say("failed", errno, 0);
    return 1;
  }

  if (isatty(STDIN_FILENO) != 0) ioctl(STDIN_FILENO, TIOCSCTTY, 0);
  const pid_t program = fork();
  if (program < 0) {
    Say("failed", errno, 0);
    return 1;
  }
  if (program == 0) RunProgram(argv[2], argv + 3, failure[1]);
  setpgid(program, program);  // By both, so that neither comes too late.
  close(failure[1]);
  int error = 0;
  if (read(failure[0], &error, sizeof(error)) == sizeof(error)) {
    waitpid(program, nullptr, 0);
    Say("failed", error, 0);
    return 1;
  }
  close(failure[0]);
  // The container's streams belong to the container: their other ends see it when that ends.
  close(STDIN_FILENO);
  close(STDOUT_FILENO);
  close(STDERR_FILENO);
  Say("started", program, 0);
  return Supervise(program, signal_fd);
}

// kaito: the command line of the suite.

#include <cstdlib>
#include <iostream>

#include <signal.h>
#include <unistd.h>

#include "common/base/files.h"
#include "common/base/log.h"
#include "kaito/command_line.h"

namespace {

std::string FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

int main(int argc, char** argv) {
  // What the libraries have to say stays out of a user's terminal unless it is an error.
  base::InitLog(
      {.level = base::LogLevel::kError, .format = base::LogFormat::kText, .logger = "kaito"});
  // `up` waits for these instead; every other verb just ends.
  signal(SIGINT, [](int) { _exit(kaito::kExitInterrupted); });
  signal(SIGPIPE, SIG_IGN);
  const kaito::Environment environment{.home = FromEnvironment("HOME"),
                                       .xdg_state_home = FromEnvironment("XDG_STATE_HOME"),
                                       .kubeconfig = FromEnvironment("KUBECONFIG"),
                                       .service_host = FromEnvironment("KUBERNETES_SERVICE_HOST"),
                                       .service_port = FromEnvironment("KUBERNETES_SERVICE_PORT"),
                                       .bin_folder = base::ExecutableFolder(),
                                       .out_is_terminal = isatty(STDOUT_FILENO) == 1,
                                       .err_is_terminal = isatty(STDERR_FILENO) == 1,
                                       .in_is_terminal = isatty(STDIN_FILENO) == 1,
                                       .color = isatty(STDERR_FILENO) == 1 &&
                                                FromEnvironment("NO_COLOR").empty() &&
                                                FromEnvironment("TERM") != "dumb"};
  return kaito::RunCommandLine({argv + 1, argv + argc}, environment,
                               {.in = std::cin, .out = std::cout, .err = std::cerr}, KAITO_VERSION);
}

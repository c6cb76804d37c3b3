// What a user asked for, and the surroundings he asked in.

#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace kaito {

// Every flag of every verb; a verb reads its own.
struct Options {
  std::string name = "local";  // Which local cluster.
  bool name_given = false;
  std::string state_dir;  // Empty: $XDG_STATE_HOME/kaito/<name>.
  std::string kubeconfig;
  std::string context;
  std::string namespace_name;                     // Empty: of the context.
  std::string output;                             // "", "json".
  absl::Duration timeout = absl::ZeroDuration();  // Zero: the verb's own.
  bool quiet = false;

  // up
  bool detach = false;
  int api_port = 0;
  std::string model_dir;
  std::string deploy_dir;
  std::vector<std::string> host_path_map;
  bool controllers = true;
  // down
  bool delete_data = false;
  // chat, run
  std::string once;
  bool once_given = false;
  std::string system;
  int max_tokens = 0;       // 0: the server's own.
  double temperature = -1;  // Negative: the server's own.
  // run
  std::string instance_type = "Standard_NC24ads_A100_v4";
  std::string workspace_name;
  // logs
  bool follow = false;
  int tail = 200;  // Lines of each log; negative: all.
};

// Read in main() alone.
struct Environment {
  std::string home;
  std::string xdg_state_home;
  std::string kubeconfig;    // KUBECONFIG
  std::string service_host;  // KUBERNETES_SERVICE_HOST
  std::string service_port;  // KUBERNETES_SERVICE_PORT
  std::string bin_folder;    // Of this binary; local-cluster lies there too.
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  bool in_is_terminal = false;
  bool color = false;
};

// Results go to `out`, everything else to `err`.
struct Streams {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
};

// The exit codes of every verb.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitNotFound = 3;
inline constexpr int kExitNotReady = 4;
inline constexpr int kExitUnreachable = 5;
inline constexpr int kExitInterrupted = 130;

}  // namespace kaito

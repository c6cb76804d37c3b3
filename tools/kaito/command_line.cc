#include "kaito/command_line.h"

#include <algorithm>
#include <functional>
#include <ostream>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/flags.h"
#include "kaito/verbs.h"

namespace kaito {
namespace {

constexpr char kExitCodes[] =
    "\nExit codes:\n"
    "  0  done; for why: the workspace is ready\n"
    "  1  it failed; the reason is on standard error\n"
    "  2  the command line is wrong\n"
    "  3  there is no such workspace, cluster or log\n"
    "  4  not ready (within --timeout)\n"
    "  5  the cluster or the server does not answer\n"
    "  130  interrupted\n";

// Which flags a verb has beside --name, --state-dir and --quiet.
enum FlagGroup : unsigned {
  kCluster = 1,  // How to reach a cluster.
  kTimeout = 2,
  kOutput = 4,
  kUp = 8,
  kDown = 16,
  kTalk = 32,
  kRun = 64,
  kLog = 128,
};

struct Verb {
  std::string_view name;
  std::string_view argument;  // "" or what it needs, e.g. "WORKSPACE".
  std::string_view purpose;
  unsigned flags;
  std::vector<std::string> examples;
  std::function<absl::Status(const std::string& argument, const Options&, const Environment&,
                             const Streams&)>
      run;
};

const std::vector<Verb>& Verbs() {
  static const auto* const verbs = new std::vector<Verb>{
      {"up",
       "",
       "Starts a local cluster with both controllers and waits until it is ready. "
       "Stays until Ctrl-C, which stops everything, or returns at once with --detach.",
       kTimeout | kUp,
       {"kaito up", "kaito up --detach", "kaito up --name second --detach",
        "kaito up --state-dir ./cluster --model-dir ./models"},
       [](const std::string&, const Options& options, const Environment& environment,
          const Streams& streams) { return Up(options, environment, streams); }},
      {"down",
       "",
       "Stops a local cluster and everything that it started.",
       kTimeout | kDown,
       {"kaito down", "kaito down --name second --delete-data"},
       [](const std::string&, const Options& options, const Environment& environment,
          const Streams& streams) { return Down(options, environment, streams); }},
      {"status",
       "",
       "Shows the processes and ports of a local cluster, and its workspaces.",
       kOutput,
       {"kaito status", "kaito status -o json"},
       [](const std::string&, const Options& options, const Environment& environment,
          const Streams& streams) { return ShowStatus(options, environment, streams); }},
      {"run",
       "MODEL",
       "Makes a workspace from a preset's name or a manifest, waits for it, and chats with it.",
       kCluster | kTimeout | kTalk | kRun,
       {"kaito run smollm2-135m-instruct", "kaito run workspace.yaml --once 'Hello'"},
       Run},
      {"chat",
       "WORKSPACE",
       "Talks with a workspace's model.",
       kCluster | kTimeout | kTalk,
       {"kaito chat workspace-smollm2",
        "kaito chat workspace-smollm2 --once 'Why is the sky blue?'",
        "echo Hello | kaito chat workspace-smollm2 -n team"},
       Chat},
      {"logs",
       "WORKSPACE|PROCESS",
       "Prints the logs of a workspace's containers, or of local-cluster, gpu-provisioner or "
       "workspace-controller.",
       kCluster | kLog,
       {"kaito logs workspace-smollm2", "kaito logs workspace-smollm2 -f",
        "kaito logs workspace-controller --tail 50"},
       Logs},
      {"why",
       "WORKSPACE",
       "Says in plain words why a workspace is not ready: condition, node claim, pod, last log "
       "line, and the next step.",
       kCluster | kOutput,
       {"kaito why workspace-smollm2", "kaito why workspace-smollm2 -n team -o json"},
       Why},
  };
  return *verbs;
}

const Verb* FindVerb(std::string_view name) {
  for (const Verb& verb : Verbs()) {
    if (verb.name == name) return &verb;
  }
  return nullptr;
}

std::string Help() {
  std::string text =
      "kaito runs models on Kubernetes, and a whole cluster on this machine to try it.\n\n"
      "Usage: kaito VERB [ARGUMENT] [flags]\n\nVerbs:\n";
  for (const Verb& verb : Verbs()) {
    const std::string call = absl::StrFormat("%s %s", verb.name, verb.argument);
    std::string_view summary = verb.purpose.substr(0, verb.purpose.find_first_of(".:"));
    text += absl::StrFormat("  %-24s %s.\n", call, summary);
  }
  text += "  version                  Prints the version; -o json for the build.\n";
  text += "  completion bash          Prints the completion script for a shell.\n";
  text += "\n`kaito VERB --help` shows a verb's flags and examples.\n";
  return text + kExitCodes;
}

void AddFlags(const Verb& verb, Options& options, base::FlagSet& flags) {
  flags.Add("name", &options.name, "which local cluster: several stand side by side");
  flags.Add("state-dir", &options.state_dir,
            "folder of the local cluster; empty: $XDG_STATE_HOME/kaito/<name>");
  flags.Add("quiet", &options.quiet, "print results and errors only");
  if ((verb.flags & kCluster) != 0) {
    flags.Add("kubeconfig", &options.kubeconfig,
              "cluster to use; empty: KUBECONFIG, else the local cluster");
    flags.Add("context", &options.context, "context in the kubeconfig; empty: the current one");
    flags.Add("n", &options.namespace_name, "same as --namespace");
    flags.Add("namespace", &options.namespace_name, "namespace; empty: that of the context");
  }
  if ((verb.flags & kTimeout) != 0) {
    flags.Add("timeout", &options.timeout, "how long to wait, e.g. 90s; 0: the verb's own");
  }
  if ((verb.flags & kOutput) != 0) {
    flags.Add("o", &options.output, "same as --output");
    flags.Add("output", &options.output, "json, or empty for text");
  }
  if ((verb.flags & kUp) != 0) {
    flags.Add("detach", &options.detach, "return as soon as the cluster is ready");
    flags.Add("api-port", &options.api_port,
              "port of the API server; 0: a free one, kept from the first start on");
    flags.Add("model-dir", &options.model_dir,
              "folder with model weights; empty: ~/.cache/kaito/models");
    flags.Add("deploy-dir", &options.deploy_dir, "folder with crds, presets and gpu-types");
    flags.Add("host-path-map", &options.host_path_map,
              "PREFIX=DIR: hostPath volumes under PREFIX lie in DIR");
    flags.Add("controllers", &options.controllers, "start the two controllers");
  }
  if ((verb.flags & kDown) != 0) {
    flags.Add("delete-data", &options.delete_data, "delete the cluster's folder as well");
  }
  if ((verb.flags & kTalk) != 0) {
    flags.Add("once", &options.once, "ask this, print the answer and end");
    flags.Add("system", &options.system, "system prompt");
    flags.Add("max-tokens", &options.max_tokens, "longest answer; 0: the server's own limit");
    flags.Add("temperature", &options.temperature,
              "0: always the same; negative: the server's own");
  }
  if ((verb.flags & kRun) != 0) {
    flags.Add("instance-type", &options.instance_type, "VM size for a preset");
    flags.Add("workspace", &options.workspace_name, "name for a preset's workspace");
  }
  if ((verb.flags & kLog) != 0) {
    flags.Add("f", &options.follow, "same as --follow");
    flags.Add("follow", &options.follow, "go on printing what is written");
    flags.Add("tail", &options.tail, "so many last lines of each log; negative: all");
  }
  for (const std::string& example : verb.examples) flags.AddExample(example);
}

bool IsHelp(const std::string& argument) {
  return argument == "--help" || argument == "-h" || argument == "-help";
}

// `flag` or `flag=value` stands among the arguments, before "--".
bool IsGiven(const std::vector<std::string>& arguments, const std::string& flag) {
  for (const std::string& argument : arguments) {
    if (argument == "--") return false;
    const std::string_view text = std::string_view(argument).substr(0, argument.find('='));
    if (text == "--" + flag || text == "-" + flag) return true;
  }
  return false;
}

int Usage(const Streams& streams, std::string_view message) {
  streams.err << "kaito: " << message << "\n";
  return kExitUsage;
}

int PrintVersion(const std::vector<std::string>& arguments, const Streams& streams,
                 const std::string& version) {
  const bool as_json = arguments.size() > 1 && arguments.back() == "json";
  if (as_json) {
    streams.out << boost::json::serialize(boost::json::value{{"version", version},
                                                             {"compiler", __VERSION__},
                                                             {"platform", "linux/amd64"}})
                << "\n";
  } else {
    streams.out << "kaito " << version << "\n";
  }
  return kExitOk;
}

int PrintCompletion(const std::vector<std::string>& arguments, const Streams& streams) {
  if (arguments.size() != 2 || arguments[1] != "bash") {
    return Usage(streams, "completion knows bash: source <(kaito completion bash)");
  }
  std::string names;
  std::string cases;
  for (const Verb& verb : Verbs()) {
    Options options;
    base::FlagSet flags("kaito", "");
    AddFlags(verb, options, flags);
    std::string words;
    for (const auto& [name, value] : flags.Values()) {
      std::string dashed = name;
      std::ranges::replace(dashed, '_', '-');
      words += (name.size() == 1 ? " -" : " --") + dashed;
    }
    names += absl::StrFormat(" %s", verb.name);
    cases += absl::StrFormat("    %s) words=\"%s --help\" ;;\n", verb.name, words.substr(1));
  }
  streams.out << "_kaito() {\n  local words=\"" << names.substr(1)
              << " version completion\"\n  if [ \"$COMP_CWORD\" -gt 1 ]; then\n"
                 "    case \"${COMP_WORDS[1]}\" in\n"
              << cases
              << "    completion) words=bash ;;\n    *) words= ;;\n    esac\n  fi\n"
                 "  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
                 "}\ncomplete -F _kaito kaito\n";
  return kExitOk;
}

int RunVerb(const Verb& verb, const std::vector<std::string>& arguments,
            const Environment& environment, const Streams& streams) {
  Options options;
  std::string program = absl::StrFormat("kaito %s", verb.name);
  if (!verb.argument.empty()) program += absl::StrFormat(" %s", verb.argument);
  base::FlagSet flags(program, std::string(verb.purpose));
  AddFlags(verb, options, flags);
  if (std::ranges::any_of(arguments, IsHelp)) {
    std::string help = flags.Help();
    for (size_t at = help.find("  --"); at != std::string::npos; at = help.find("  --", at + 4)) {
      for (size_t i = at + 4; i < help.size() && help[i] != '\n'; ++i) {
        if (help[i] == '_') help[i] = '-';
      }
    }
    streams.out << help << kExitCodes;
    return kExitOk;
  }
  const absl::StatusOr<std::vector<std::string>> positional = flags.Parse(arguments);
  if (!positional.ok()) return Usage(streams, std::string(positional.status().message()));
  if (!options.output.empty() && options.output != "json") {
    return Usage(streams, absl::StrFormat("-o %s: only json is known", options.output));
  }
  const size_t wanted = verb.argument.empty() ? 0 : 1;
  if (positional->size() != wanted) {
    return Usage(streams, absl::StrFormat("usage: %s [flags]; %s --help shows them", program,
                                          absl::StrFormat("kaito %s", verb.name)));
  }
  options.name_given = IsGiven(arguments, "name");
  options.once_given = IsGiven(arguments, "once");
  const absl::Status status =
      verb.run(wanted == 0 ? "" : positional->front(), options, environment, streams);
  if (!status.ok() && !status.message().empty()) {
    std::string message(status.message());
    std::ranges::replace(message, '\n', ' ');
    if (message.find("No space left on device") != std::string::npos) {
      message += ": free some space, or use --state-dir on another disk";
    }
    streams.err << "kaito: " << message << "\n";
  }
  streams.out.flush();
  return ExitCode(status);
}

}  // namespace

int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kNotFound:
      return kExitNotFound;
    case absl::StatusCode::kFailedPrecondition:
      return kExitNotReady;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kUnauthenticated:
      return kExitUnreachable;
    case absl::StatusCode::kCancelled:
      return kExitInterrupted;
    default:
      return kExitFailed;
  }
}

int RunCommandLine(const std::vector<std::string>& arguments, const Environment& environment,
                   const Streams& streams, const std::string& version) {
  if (arguments.empty()) {
    streams.err << Help();
    return kExitUsage;
  }
  const std::string& name = arguments.front();
  if (IsHelp(name) || name == "help") {
    streams.out << Help();
    return kExitOk;
  }
  if (name == "version" || std::ranges::find(arguments, "--version") != arguments.end())
    return PrintVersion(arguments, streams, version);
  if (name == "completion") return PrintCompletion(arguments, streams);
  const Verb* verb = FindVerb(name);
  if (verb == nullptr) {
    std::vector<std::string> names;
    for (const Verb& known : Verbs()) names.emplace_back(known.name);
    const std::string nearest = base::NearestName(name, names);
    return Usage(streams,
                 nearest.empty()
                     ? absl::StrFormat("unknown verb %s; kaito --help lists them", name)
                     : absl::StrFormat("unknown verb %s; did you mean %s?", name, nearest));
  }
  return RunVerb(*verb, {arguments.begin() + 1, arguments.end()}, environment, streams);
}

}  // namespace kaito

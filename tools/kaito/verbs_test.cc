// Each verb from its arguments to its output and exit code, against servers that are scripted.

#include <filesystem>
#include <sstream>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/net/scripted_server.h"
#include "kaito/cluster_state.h"
#include "kaito/command_line.h"

namespace kaito {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kWorkspacePath[] = "/apis/kaito.sh/v1beta1/namespaces/default/workspaces/w";
constexpr char kReady[] = R"({"apiVersion":"kaito.sh/v1beta1","kind":"Workspace",
  "metadata":{"name":"w","namespace":"default","resourceVersion":"5"},
  "inference":{"preset":{"name":"smollm2-135m-instruct"}},
  "resource":{"instanceType":"Standard_NC24ads_A100_v4"},
  "status":{"conditions":[{"type":"InferenceReady","status":"True","reason":"x"},
                          {"type":"WorkspaceSucceeded","status":"True","reason":"x"}]}})";
constexpr char kPending[] = R"({"metadata":{"name":"w","namespace":"default","resourceVersion":"4"},
  "inference":{},"status":{"conditions":[
    {"type":"ResourceReady","status":"False","reason":"QuotaExceeded","message":"no cores left"}]}})";

net::ScriptedAnswer Ok(std::string body) {
  return {.response = {.status = 200, .body = std::move(body)}};
}

class VerbsTest : public ::testing::Test {
 protected:
  VerbsTest() {
    std::string pattern = ::testing::TempDir() + "kaito.XXXXXX";
    folder_ = mkdtemp(pattern.data());
    state_ = folder_ + "/state";
    environment_.home = folder_;
    environment_.bin_folder = folder_ + "/bin";
    Write("state/kubeconfig", absl::StrFormat(R"({"current-context":"x",
      "contexts":[{"name":"x","context":{"cluster":"c"}}],
      "clusters":[{"name":"c","cluster":{"server":"%s"}}]})",
                                              server_.url()));
    server_.SetDefault("GET", kWorkspacePath, Ok(kReady));
    const std::string address = server_.url().substr(7);
    server_.SetDefault(
        "GET", "/api/v1/namespaces/default/services/w",
        Ok(absl::StrFormat(
            R"({"metadata":{"annotations":{"local-cluster.kaito.sh/ports":"{\"80\":\"%s\"}"}}})",
            address)));
    server_.SetDefault("GET", "/v1/models", Ok(R"({"data":[{"id":"smollm2"}]})"));
  }
  ~VerbsTest() override { (void)base::RemoveAll(folder_); }

  void Write(const std::string& name, std::string_view text, mode_t mode = 0600) {
    const std::string path = folder_ + "/" + name;
    ASSERT_TRUE(base::CreateDirectories(std::filesystem::path(path).parent_path().string()).ok());
    ASSERT_TRUE(base::WriteFileAtomic(path, text, mode).ok());
  }

  int Run(std::vector<std::string> arguments, const std::string& input = "") {
    out_.str("");
    err_.str("");
    std::istringstream in(input);
    arguments.push_back("--state-dir=" + state_);
    return RunCommandLine(arguments, environment_, {.in = in, .out = out_, .err = err_}, "1.2.3");
  }
  std::string out() const { return out_.str(); }
  std::string err() const { return err_.str(); }

  std::string folder_;
  std::string state_;
  net::ScriptedServer server_;
  Environment environment_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(VerbsTest, AWrongCommandLineIsTwoAndSaysWhatIsMeant) {
  EXPECT_EQ(Run({"stats"}), 2);
  EXPECT_EQ(err(), "kaito: unknown verb stats; did you mean status?\n");
  EXPECT_EQ(Run({"chat"}), 2);
  EXPECT_THAT(err(), HasSubstr("usage: kaito chat WORKSPACE"));
  EXPECT_EQ(Run({"why", "w", "--namespce=x"}), 2);
  EXPECT_THAT(err(), HasSubstr("did you mean --namespace?"));
  EXPECT_EQ(Run({"why", "w", "-o", "yaml"}), 2);
  EXPECT_EQ(Run({"up", "--timeout=soon"}), 2);
  EXPECT_EQ(out(), "");
}

TEST_F(VerbsTest, EveryVerbHasHelpWithExamplesAndExitCodes) {
  for (const char* verb : {"up", "down", "status", "run", "chat", "logs", "why"}) {
    EXPECT_EQ(Run({verb, "--help"}), 0);
    EXPECT_THAT(out(), HasSubstr("Examples:")) << verb;
    EXPECT_THAT(out(), HasSubstr("--state-dir")) << verb;
    EXPECT_THAT(out(), HasSubstr("130  interrupted")) << verb;
  }
  EXPECT_EQ(Run({"--help"}), 0);
  EXPECT_THAT(out(), HasSubstr("why WORKSPACE"));
}

TEST_F(VerbsTest, VersionAndCompletionArePrinted) {
  std::istringstream in;
  std::ostringstream out;
  const Streams streams{.in = in, .out = out, .err = out};
  EXPECT_EQ(RunCommandLine({"version"}, environment_, streams, "1.2.3"), 0);
  EXPECT_EQ(out.str(), "kaito 1.2.3\n");
  EXPECT_EQ(RunCommandLine({"completion", "bash"}, environment_, streams, "1.2.3"), 0);
  EXPECT_THAT(out.str(), HasSubstr("complete -F _kaito kaito"));
}

TEST_F(VerbsTest, ChatStreamsTheAnswer) {
  server_.Enqueue("POST", "/v1/chat/completions",
                  {.chunks = {"data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n",
                              "data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n",
                              "\ndata: {\"choices\":[{\"delta\":{\"content\":\"lo\"}}]}\n\n",
                              "data: {\"choices\":[],\"usage\":{\"completion_tokens\":2}}\n\n",
                              "data: [DONE]\n\n"}});
  EXPECT_EQ(Run({"chat", "w", "--once", "Hi", "--max-tokens=9", "--system", "Be kind"}), 0)
      << err();
  EXPECT_EQ(out(), "Hello\n");
  EXPECT_THAT(err(), HasSubstr("[2 tokens"));
  EXPECT_EQ(json::parse(server_.requests().back().body),
            json::parse(R"({"model":"smollm2","stream":true,"max_tokens":9,
              "stream_options":{"include_usage":true},"messages":[
              {"role":"system","content":"Be kind"},{"role":"user","content":"Hi"}]})"));
}

TEST_F(VerbsTest, ChatRemembersTheConversationOfItsInput) {
  server_.SetDefault("POST", "/v1/chat/completions",
                     {.chunks = {"data: {\"choices\":[{\"delta\":{\"content\":\"A\"}}]}\n\n",
                                 "data: [DONE]\n\n"}});
  EXPECT_EQ(Run({"chat", "w", "--quiet"}, "one\ntwo\n"), 0);
  EXPECT_EQ(out(), "A\nA\n");
  EXPECT_EQ(err(), "");
  EXPECT_EQ(json::parse(server_.requests().back().body).at("messages").as_array().size(), 3U);
}

TEST_F(VerbsTest, ChatTellsTheServersOwnReason) {
  server_.Enqueue(
      "POST", "/v1/chat/completions",
      {.response = {.status = 429, .body = R"({"error":{"message":"the queue is full"}})"}});
  EXPECT_EQ(Run({"chat", "w", "--once", "Hi"}), 5);
  EXPECT_THAT(err(), HasSubstr("answered 429: the queue is full"));
  server_.Enqueue("POST", "/v1/chat/completions",
                  {.chunks = {"data: {\"choices\":[{\"delta\":{\"content\":\"A\"}}]}\n\n"},
                   .cut_after_chunks = true});
  EXPECT_EQ(Run({"chat", "w", "--once", "Hi"}), 5);
  EXPECT_THAT(err(), HasSubstr("the answer"));
}

TEST_F(VerbsTest, ChatWaitsUntilTheWorkspaceIsReady) {
  server_.Enqueue("GET", kWorkspacePath, Ok(kPending));
  std::string event = absl::StrFormat("{\"type\":\"MODIFIED\",\"object\":%s}\n", kReady);
  std::erase(event, '\n');
  server_.SetDefault("GET", "/apis/kaito.sh/v1beta1/namespaces/default/workspaces",
                     {.chunks = {event + "\n"}, .hold_after_chunks = true});
  server_.SetDefault("POST", "/v1/chat/completions", {.chunks = {"data: [DONE]\n\n"}});
  EXPECT_EQ(Run({"chat", "w", "--once", "Hi"}), 0) << err();
  EXPECT_THAT(err(), HasSubstr("ResourceReady is False (QuotaExceeded): no cores left"));
}

TEST_F(VerbsTest, ChatGivesUpWithFourAndTheReason) {
  server_.SetDefault("GET", kWorkspacePath, Ok(kPending));
  server_.SetDefault("GET", "/apis/kaito.sh/v1beta1/namespaces/default/workspaces",
                     {.chunks = {"\n"}, .hold_after_chunks = true});
  EXPECT_EQ(Run({"chat", "w", "--once", "Hi", "--timeout=50ms", "--quiet"}), 4);
  EXPECT_THAT(err(), HasSubstr("QuotaExceeded"));
  EXPECT_THAT(err(), HasSubstr("`kaito why w`"));
}

TEST_F(VerbsTest, ChatDoesNotWaitForWhatOnlyTheUserCanMend) {
  server_.SetDefault("GET", kWorkspacePath, Ok(R"({"metadata":{"name":"w","namespace":"default",
    "generation":2},"inference":{},"status":{"conditions":[{"type":"Stalled","status":"True",
    "observedGeneration":2,"reason":"InvalidSpec","message":"no preset x"}]}})"));
  EXPECT_EQ(Run({"chat", "w", "--once", "Hi", "--quiet"}), 4);
  EXPECT_THAT(err(), HasSubstr("workspace w needs you: InvalidSpec: no preset x"));
}

TEST_F(VerbsTest, AnUnknownWorkspaceIsThreeAndNamesTheNearest) {
  server_.SetDefault("GET", "/apis/kaito.sh/v1beta1/namespaces/default/workspaces",
                     Ok(R"({"items":[{"metadata":{"name":"workspace-smollm2"}}]})"));
  EXPECT_EQ(Run({"chat", "workspace-smolm2", "--once", "x"}), 3);
  EXPECT_EQ(err(),
            "kaito: no workspace workspace-smolm2 in namespace default: did you mean "
            "workspace-smollm2?\n");
}

TEST_F(VerbsTest, WithoutAClusterItIsFive) {
  ASSERT_TRUE(base::RemoveAll(state_).ok());
  EXPECT_EQ(Run({"why", "w"}), 5);
  EXPECT_THAT(err(), HasSubstr("run `kaito up`"));
}

TEST_F(VerbsTest, WhyIsZeroWhenReadyAndFourWithTheChainWhenNot) {
  EXPECT_EQ(Run({"why", "w"}), 0);
  EXPECT_THAT(out(), StartsWith("workspace default/w is ready\n"));
  server_.SetDefault("GET", kWorkspacePath, Ok(kPending));
  EXPECT_EQ(Run({"why", "w"}), 4);
  EXPECT_EQ(out(),
            "workspace default/w is not ready\n"
            "  condition ResourceReady is False: QuotaExceeded: no cores left\n"
            "next: ask for more quota of this VM family, or choose another instanceType\n");
  EXPECT_EQ(err(), "");
  EXPECT_EQ(Run({"why", "w", "-o", "json"}), 4);
  EXPECT_EQ(json::parse(out()).at("ready"), false);
}

TEST_F(VerbsTest, StatusShowsWhatIsStopped) {
  EXPECT_EQ(Run({"status"}), 3);
  Write("state/status.json", R"({"name":"local","pid":999999999,"kubeconfig":"/k",
    "api":"https://127.0.0.1:1","arm":"http://127.0.0.1:2",
    "processes":[{"name":"gpu-provisioner","pid":999999998,"ports":{"metrics":3}}]})");
  EXPECT_EQ(Run({"status", "-o", "json"}), 5);
  const json::value report = json::parse(out());
  EXPECT_EQ(report.at("state"), "stopped");
  EXPECT_EQ(report.at("kubeconfig"), "/k");
  const json::array& processes = report.at("processes").as_array();
  ASSERT_EQ(processes.size(), 2U);
  EXPECT_EQ(processes[0].at("ports").at("api"), 1);
  EXPECT_EQ(processes[1].at("name"), "gpu-provisioner");
  EXPECT_EQ(processes[1].at("running"), false);
  EXPECT_THAT(err(), HasSubstr("start it with `kaito up`"));
}

TEST_F(VerbsTest, LogsOfAProcessAreItsLastLines) {
  Write("state/logs/gpu-provisioner.log", "one\ntwo\nthree\n");
  EXPECT_EQ(Run({"logs", "gpu-provisioner", "--tail", "2"}), 0);
  EXPECT_EQ(out(), "two\nthree\n");
}

TEST_F(VerbsTest, LogsOfAWorkspaceArePrefixed) {
  server_.SetDefault("GET", "/api/v1/namespaces/default/pods",
                     Ok(R"({"items":[{"metadata":{"name":"w-0"},
                       "spec":{"containers":[{"name":"w"},{"name":"gateway"}]}}]})"));
  server_.Enqueue("GET", "/api/v1/namespaces/default/pods/w-0/log", {.chunks = {"a\nb", "c\n"}});
  server_.Enqueue("GET", "/api/v1/namespaces/default/pods/w-0/log", {.chunks = {"d"}});
  EXPECT_EQ(Run({"logs", "w", "--tail", "5"}), 0) << err();
  EXPECT_EQ(out(), "[w-0 w] a\n[w-0 w] bc\n[w-0 gateway] d\n");
  EXPECT_THAT(server_.requests().back().target, HasSubstr("container=gateway&tailLines=5"));
}

TEST_F(VerbsTest, RunAppliesAPresetAndChats) {
  server_.Enqueue("PATCH", "/apis/kaito.sh/v1beta1/namespaces/default/workspaces/w", Ok(kReady));
  server_.SetDefault("POST", "/v1/chat/completions",
                     {.chunks = {"data: {\"choices\":[{\"delta\":{\"content\":\"A\"}}]}\n\n",
                                 "data: [DONE]\n\n"}});
  EXPECT_EQ(Run({"run", "smollm2-135m-instruct", "--workspace", "w", "--once", "Hi"}), 0) << err();
  EXPECT_EQ(out(), "A\n");
  const json::value applied = json::parse(server_.requests().front().body);
  EXPECT_EQ(applied.at("inference").at("preset").at("name"), "smollm2-135m-instruct");
  EXPECT_THAT(server_.requests().front().target, Not(HasSubstr("force")));
}

// A program in the place of local-cluster.
class UpTest : public VerbsTest {
 protected:
  void Script(const std::string& body) {
    Write("bin/local-cluster", "#!/bin/sh\n" + body, 0700);
    Write("bin/deploy/crds/x.yaml", "");
  }
};

TEST_F(UpTest, AFailedStartIsOneLineWithTheClustersOwnReason) {
  Script("echo 'local-cluster: port 6443 is taken by nginx (pid 812): stop it' >&2; exit 1\n");
  EXPECT_EQ(Run({"up", "--detach", "--quiet"}), 1);
  EXPECT_THAT(err(), StartsWith("kaito: local-cluster: port 6443 is taken by nginx (pid 812)"));
  Script(R"(echo '{"level":"error","msg":"store","error":"disk full"}' >&2; exit 1)");
  EXPECT_EQ(Run({"up", "--detach", "--quiet"}), 1);
  EXPECT_THAT(err(), HasSubstr("store: disk full"));
  Script("echo 'local-cluster: write /x: No space left on device' >&2; exit 1\n");
  EXPECT_EQ(Run({"up", "--detach", "--quiet"}), 1);
  EXPECT_THAT(err(), HasSubstr("free some space, or use --state-dir on another disk"));
  Script("kill -9 $$\n");
  EXPECT_EQ(Run({"up", "--detach", "--quiet"}), 1);
  EXPECT_THAT(err(), HasSubstr("was ended by signal 9"));
}

TEST_F(UpTest, AMissingBinaryIsNamed) {
  EXPECT_EQ(Run({"up"}), 1);
  EXPECT_THAT(err(), HasSubstr("bin/local-cluster is missing"));
}

TEST_F(UpTest, DetachReturnsWhenReadyAndPrintsWhereItIs) {
  Script(absl::StrFormat(R"(
printf '{"name":"local","pid":%%d,"kubeconfig":"%s/kubeconfig","api":"https://127.0.0.1:1"}' $$ \
  > %s/status.json
echo "$@" > %s/arguments
echo ready kubeconfig=x api=y
exec sleep 60
)",
                         state_, state_, folder_));
  EXPECT_EQ(Run({"up", "--detach", "--no-controllers", "--api-port=1"}), 0) << err();
  EXPECT_THAT(out(), HasSubstr("kubeconfig " + state_ + "/kubeconfig\n"));
  EXPECT_THAT(err(), HasSubstr("API server is ready"));
  EXPECT_THAT(*base::ReadFile(folder_ + "/arguments"), HasSubstr("--api_port=1"));
  StateFolder folder{.path = state_};
  const auto status = ReadClusterStatus(folder);
  ASSERT_TRUE(status.ok() && status->has_value());
  EXPECT_TRUE(IsAlive((*status)->pid));
  EXPECT_FALSE(IsAliveAs((*status)->pid, "local-cluster")) << "this one is a sleep";
  kill((*status)->pid, SIGKILL);
  waitpid((*status)->pid, nullptr, 0);
  EXPECT_FALSE(IsAlive((*status)->pid));
}

TEST_F(UpTest, AStartThatIsTooSlowIsStoppedAgain) {
  Script("exec sleep 60\n");
  EXPECT_EQ(Run({"up", "--detach", "--quiet", "--timeout=100ms"}), 4);
  EXPECT_THAT(err(), HasSubstr("local-cluster is not ready in time"));
}

TEST_F(VerbsTest, DownDeletesOnlyWhatIsACluster) {
  EXPECT_EQ(Run({"down", "--delete-data"}), 0) << err();
  EXPECT_FALSE(base::FileExists(state_));
  EXPECT_EQ(Run({"down", "--delete-data"}), 0);
  Write("state/letter.txt", "Dear");
  EXPECT_EQ(Run({"down", "--delete-data"}), 3);
  EXPECT_TRUE(base::FileExists(state_ + "/letter.txt"));
}

TEST_F(VerbsTest, TheStateFolderFollowsTheNameAndTheStandardVariables) {
  Options options;
  options.name = "two";
  EXPECT_EQ(FindStateFolder(options, {.home = "/h"})->path, "/h/.local/state/kaito/two");
  EXPECT_EQ(FindStateFolder(options, {.home = "/h", .xdg_state_home = "/x"})->path, "/x/kaito/two");
  options.name = "../etc";
  EXPECT_FALSE(FindStateFolder(options, {.home = "/h"}).ok());
}

}  // namespace
}  // namespace kaito

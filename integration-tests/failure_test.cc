// What a person sees when something is wrong: one line with the cause and the remedy.

#include <algorithm>
#include <string>

#include <sys/socket.h>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/base/files.h"
#include "common/net/http_server.h"
#include "integration-tests/support/cluster.h"

namespace integration {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string Workspace(std::string_view name, std::string_view preset) {
  return absl::StrFormat(R"(apiVersion: kaito.sh/v1beta1
kind: Workspace
metadata:
  name: %s
resource:
  instanceType: Standard_NC24ads_A100_v4
  labelSelector:
    matchLabels:
      apps: %s
inference:
  preset:
    name: %s
)",
                         name, name, preset);
}

int Lines(const std::string& text) {
  return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
}

TEST(FailureTest, QuotaErrorOfTheCloudReachesTheWorkspaceWithinTenSeconds) {
  Cluster cluster;
  ASSERT_NO_FATAL_FAILURE(cluster.Up());
  const auto set = cluster.Http(cluster.ArmUrl(), "POST", "/_emulator/quota",
                                R"({"family":"StandardNCADSA100v4Family","limit":24,"used":24})");
  ASSERT_TRUE(set.ok() && set->status == 200) << (set.ok() ? set->body : set.status().ToString());

  const absl::Time applied = absl::Now();
  ASSERT_TRUE(cluster.ApplyText(Workspace("ws-quota", "smollm2-135m-instruct")).ok());
  EXPECT_TRUE(Await(
      [&] {
        return cluster.ConditionText("ws-quota", "ResourceReady").find("QuotaExceeded") !=
               std::string::npos;
      },
      absl::Seconds(10)))
      << cluster.ConditionText("ws-quota", "ResourceReady");
  RecordProperty("milliseconds",
                 static_cast<int>(absl::ToInt64Milliseconds(absl::Now() - applied)));
  EXPECT_THAT(cluster.ConditionText("ws-quota", "ResourceReady"),
              AllOf(HasSubstr("limit 24"), HasSubstr("used 24")));
  const CommandResult why = cluster.Kaito("why", {"ws-quota"});
  EXPECT_EQ(why.exit_code, 4) << why.out << why.err;
  EXPECT_THAT(why.out, HasSubstr("quota"));
}

TEST(FailureTest, UnknownPresetIsNamedInTheCondition) {
  Cluster cluster;
  ASSERT_NO_FATAL_FAILURE(cluster.Up());
  ASSERT_TRUE(cluster.ApplyText(Workspace("ws-unknown", "no-such-model")).ok());
  EXPECT_TRUE(cluster.AwaitCondition("ws-unknown", "ResourceReady", "False", absl::Seconds(10)));
  EXPECT_THAT(cluster.ConditionText("ws-unknown", "ResourceReady"),
              HasSubstr("Unsupported inference preset name no-such-model"));
  EXPECT_TRUE(cluster.List(kube::resources::kNodeClaims).empty());
}

TEST(FailureTest, SecondUpJoinsTheRunningCluster) {
  Cluster cluster;
  ASSERT_NO_FATAL_FAILURE(cluster.Up());
  const pid_t before = cluster.Pid("local-cluster");
  const CommandResult again = cluster.Kaito("up", {"--detach"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(cluster.Pid("local-cluster"), before);
}

TEST(FailureTest, TakenPortIsRefusedWithTheRemedy) {
  auto holder = net::HttpServer::Start(
      {}, [](const std::shared_ptr<net::Exchange>& exchange) { exchange->Send({.status = 204}); });
  ASSERT_TRUE(holder.ok()) << holder.status();
  Cluster cluster;
  const CommandResult up = RunCommand(
      {Binary("local-cluster"), "--state_dir", cluster.state_dir(), "--bin_dir", Binary(""),
       "--deploy_dir", SourcePath("deploy"), absl::StrFormat("--api_port=%d", (*holder)->port())},
      {.timeout = absl::Seconds(20)});
  EXPECT_NE(up.exit_code, 0) << up.out << up.err;
  EXPECT_NE(up.exit_code, 124) << up.out << up.err;
  EXPECT_THAT(up.err, AllOf(HasSubstr(absl::StrFormat("port %d", (*holder)->port())),
                            HasSubstr("is taken")));
  EXPECT_TRUE(cluster.Processes().empty());
}

TEST(FailureTest, BadModelFilesEndTheServerWithOneLineThatNamesTheFile) {
  Cluster cluster;  // For its folder.
  const std::string path = cluster.state_dir() + "/bad.gguf";
  const std::string header("GGUF\x03\0\0\0", 8);
  for (const std::string& content :
       {std::string(), std::string("GGUF"), std::string("not a model at all"), header,
        header + std::string(16, '\xff'), header + std::string(1000, '\0'),
        std::string("GGUF\x63\0\0\0", 8) + std::string(16, '\0')}) {
    ASSERT_TRUE(base::WriteFileAtomic(path, content).ok());
    const CommandResult result =
        RunCommand({Binary("model-server"), "--model", path, "--grpc_port=0", "--ops_port=0"},
                   {.timeout = absl::Seconds(10)});
    EXPECT_EQ(result.exit_code, 4) << content.size() << " bytes: " << result.err;
    EXPECT_THAT(result.err, HasSubstr("bad.gguf"));
  }
}

TEST(FailureTest, MissingModelIsNamed) {
  const CommandResult result =
      RunCommand({Binary("model-server"), "--model", "/nonexistent/model.gguf", "--grpc_port=0",
                  "--ops_port=0"},
                 {.timeout = absl::Seconds(10)});
  EXPECT_EQ(result.exit_code, 4) << result.err;
  EXPECT_THAT(result.err, HasSubstr("/nonexistent/model.gguf"));
}

TEST(FailureTest, WrongFlagsEndWithCodeTwoAndASuggestion) {
  for (const char* name :
       {"model-server", "gateway", "workspace-controller", "gpu-provisioner", "local-cluster"}) {
    const CommandResult result = RunCommand({Binary(name), "--no_such_flag=1"});
    EXPECT_EQ(result.exit_code, 2) << name << ": " << result.err;
    EXPECT_EQ(Lines(result.err), 1) << name << ": " << result.err;
    const CommandResult help = RunCommand({Binary(name), "--help"});
    EXPECT_EQ(help.exit_code, 0) << name;
    EXPECT_THAT(help.out, HasSubstr("Flags:")) << name;
  }
}

}  // namespace
}  // namespace integration

// Any process may die at any moment: what is left converges to the same end.

#include <random>
#include <string>

#include <signal.h>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "integration-tests/support/cluster.h"

namespace integration {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

// The process that dies, and whether it exists only once the Workspace has got that far.
class KillTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (SampleModel().empty()) {
      GTEST_SKIP() << "SKIPPED: the sample model is not there: run tools/setup --model";
    }
    ASSERT_NO_FATAL_FAILURE(cluster_.Up());
  }

  bool Answers() {
    const std::string url = cluster_.ServiceUrl(kWorkspace);
    if (url.empty()) return false;
    const auto chat = cluster_.Http(url, "POST", "/chat",
                                    R"({"prompt":"The capital of France is",
            "generate_kwargs":{"do_sample":false,"max_new_tokens":4}})",
                                    absl::Seconds(5));
    return chat.ok() && chat->status == 200 && chat->body.find("Paris") != std::string::npos;
  }

  // Kills `name` as soon as it is there, or after `delay` if that is later.
  void KillAfter(const std::string& name, absl::Duration delay) {
    absl::SleepFor(delay);
    pid_t pid = 0;
    ASSERT_TRUE(Await([&] { return (pid = cluster_.Pid(name)) != 0; }, absl::Seconds(30)))
        << name << " never ran";
    ASSERT_EQ(kill(pid, SIGKILL), 0);
    if (name == "local-cluster") {
      ASSERT_TRUE(Await([&] { return kill(pid, 0) != 0; }, absl::Seconds(5)));
      ASSERT_NO_FATAL_FAILURE(cluster_.Up());
    }
  }

  Cluster cluster_;
};

TEST_P(KillTest, WorkspaceConvergesWhenAProcessDiesOnTheWay) {
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  const absl::Duration delay = absl::Milliseconds(random() % 1500);
  SCOPED_TRACE(absl::StrFormat("seed %u, %s killed after %s", seed, GetParam(),
                               absl::FormatDuration(delay)));

  ASSERT_TRUE(cluster_.Apply(SourcePath(kExample)).ok());
  ASSERT_NO_FATAL_FAILURE(KillAfter(GetParam(), delay));

  EXPECT_TRUE(Await([&] { return Answers(); }, absl::Seconds(60)))
      << cluster_.ConditionText(kWorkspace, "ResourceReady") << "\n"
      << cluster_.ConditionText(kWorkspace, "InferenceReady");
  EXPECT_TRUE(cluster_.AwaitCondition(kWorkspace, "WorkspaceSucceeded", "True", absl::Seconds(30)));
  EXPECT_THAT(cluster_.List(kube::resources::kNodeClaims), SizeIs(1)) << "a node was bought twice";
}

TEST_P(KillTest, WorkspaceConvergesWhenAProcessDiesWhileServing) {
  ASSERT_TRUE(cluster_.Apply(SourcePath(kExample)).ok());
  ASSERT_TRUE(Await([&] { return Answers(); }, absl::Seconds(60)));
  ASSERT_NO_FATAL_FAILURE(KillAfter(GetParam(), absl::ZeroDuration()));
  EXPECT_TRUE(Await([&] { return Answers(); }, absl::Seconds(60)));
  EXPECT_TRUE(cluster_.AwaitCondition(kWorkspace, "WorkspaceSucceeded", "True", absl::Seconds(30)));
  EXPECT_THAT(cluster_.List(kube::resources::kNodeClaims), SizeIs(1));
}

INSTANTIATE_TEST_SUITE_P(AllProcesses, KillTest,
                         testing::Values("gateway", "model-server", "workspace-controller",
                                         "gpu-provisioner", "local-cluster"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) {
                             if (c == '-') c = '_';
                           }
                           return name;
                         });

}  // namespace
}  // namespace integration

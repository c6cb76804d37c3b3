// The client of strangers: every kubectl on the machine.

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "integration-tests/support/cluster.h"

namespace integration {
namespace {

using testing::HasSubstr;

// `kubectl` and versions beside it (kubectl.1.31, …). A dispatcher that only starts the right
// version is one more name for it.
std::vector<std::string> Kubectls() {
  std::vector<std::string> found;
  const std::string plain = FindProgram("kubectl");
  if (!plain.empty()) found.push_back(plain);
  for (int minor = 30; minor <= 33; ++minor) {
    const std::string path = FindProgram(absl::StrFormat("kubectl.1.%d", minor));
    if (!path.empty()) found.push_back(path);
  }
  return found;
}

class KubectlTest : public testing::Test {
 protected:
  void SetUp() override {
    if (Kubectls().empty()) GTEST_SKIP() << "SKIPPED: there is no kubectl in PATH";
    if (SampleModel().empty()) {
      GTEST_SKIP() << "SKIPPED: the sample model is not there: run tools/setup --model";
    }
    ASSERT_NO_FATAL_FAILURE(cluster_.Up());
  }

  CommandResult Kubectl(const std::string& program, std::vector<std::string> arguments) {
    std::vector<std::string> command = {program, "--kubeconfig", cluster_.kubeconfig()};
    command.insert(command.end(), arguments.begin(), arguments.end());
    // A cache of its own: discovery of other clusters must not help.
    return RunCommand(command, {.environment = {"HOME=" + cluster_.state_dir()}});
  }

  Cluster cluster_;
};

TEST_F(KubectlTest, WorkspaceLivesItsLifeByKubectl) {
  for (const std::string& program : Kubectls()) {
    SCOPED_TRACE(program);
    auto expect = [&](std::vector<std::string> arguments, std::string_view text) {
      const CommandResult result = Kubectl(program, arguments);
      EXPECT_EQ(result.exit_code, 0) << arguments[0] << ": " << result.out << result.err;
      EXPECT_THAT(result.out, HasSubstr(std::string(text)));
    };
    const std::string name(kWorkspace);
    expect({"version"}, "Server Version: v1.33");
    expect({"api-resources"}, "workspaces");
    expect({"explain", "workspace.resource.instanceType"}, "instanceType");
    expect({"apply", "-f", SourcePath(kExample)}, "created");
    expect({"wait", "--for=condition=WorkspaceSucceeded", "workspace/" + name, "--timeout=60s"},
           "condition met");
    expect({"apply", "-f", SourcePath(kExample)}, "unchanged");
    expect({"get", "workspace"}, "RESOURCEREADY");
    expect({"get", "wk", name, "-o", "jsonpath={.status.state}"}, "Ready");
    expect({"get", "all"}, "statefulset.apps/" + name);
    expect({"describe", "workspace", name}, "Events:");
    expect({"get", "pods"}, "2/2");
    expect({"logs", name + "-0", "-c", "gateway"}, "gateway");
    expect({"get", "nodeclaims"}, "Standard_NC24ads_A100_v4");
    expect({"get", "nodes"}, "Ready");
    expect({"get", "events"}, "workspace/" + name);
    expect({"annotate", "workspace", name, "note=x"}, "annotated");
    expect({"delete", "workspace", name, "--timeout=60s"}, "deleted");
    const CommandResult gone = Kubectl(program, {"get", "workspace", name});
    EXPECT_EQ(gone.exit_code, 1);
    EXPECT_THAT(gone.err, HasSubstr("NotFound"));
  }
}

TEST_F(KubectlTest, WatchShowsEachChangeAsItComes) {
  const std::string program = Kubectls().front();
  const std::string log = cluster_.state_dir() + "/watch.txt";
  {
    BackgroundCommand watch(
        {program, "--kubeconfig", cluster_.kubeconfig(), "get", "workspaces", "-w"}, log);
    ASSERT_TRUE(cluster_.Apply(SourcePath(kExample)).ok());
    ASSERT_TRUE(
        cluster_.AwaitCondition(kWorkspace, "WorkspaceSucceeded", "True", absl::Seconds(60)));
    EXPECT_TRUE(Await([&] { return RunCommand({"grep", "-c", "True", log}).exit_code == 0; },
                      absl::Seconds(10)))
        << RunCommand({"cat", log}).out;
  }
}

}  // namespace
}  // namespace integration

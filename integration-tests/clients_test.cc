// Other people's clients: the openai package, a gRPC client made from the protos alone, a browser.

#include <string>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/base/files.h"
#include "integration-tests/support/cluster.h"

namespace integration {
namespace {

using testing::HasSubstr;

class ClientsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (SampleModel().empty()) {
      GTEST_SKIP() << "SKIPPED: the sample model is not there: run tools/setup --model";
    }
    ASSERT_NO_FATAL_FAILURE(cluster_.Up());
    ASSERT_TRUE(cluster_.Apply(SourcePath(kExample)).ok());
    ASSERT_TRUE(
        cluster_.AwaitCondition(kWorkspace, "WorkspaceSucceeded", "True", absl::Seconds(60)));
    url_ = cluster_.ServiceUrl(kWorkspace);
  }

  // A Python with `package`, in a folder beside the build; "" when it cannot be had.
  static std::string PythonWith(const std::string& package, const std::string& module) {
    const std::string folder = Binary("../python-" + package);
    std::string python = folder + "/bin/python";
    if (RunCommand({python, "-c", "import " + module}).exit_code == 0) return python;
    if (RunCommand({"python3", "-m", "venv", folder}).exit_code != 0) return "";
    const CommandResult pip =
        RunCommand({python, "-m", "pip", "install", "-q", "--disable-pip-version-check", package},
                   {.timeout = absl::Minutes(5)});
    return pip.exit_code == 0 ? python : "";
  }

  Cluster cluster_;
  std::string url_;
};

TEST_F(ClientsTest, OpenAiPackageChatsWithAndWithoutStreaming) {
  const std::string python = PythonWith("openai", "openai");
  if (python.empty()) GTEST_SKIP() << "SKIPPED: the Python package openai cannot be had here";
  const CommandResult result =
      RunCommand({python, SourcePath("integration-tests/clients/openai_client.py"), url_ + "/v1"});
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_THAT(result.out, HasSubstr("all good"));
}

TEST_F(ClientsTest, GrpcClientMadeFromTheProtosAloneChats) {
  const std::string python = PythonWith("grpcio-tools", "grpc_tools, grpc");
  if (python.empty()) {
    GTEST_SKIP() << "SKIPPED: the Python package grpcio-tools cannot be had here";
  }
  const auto pod =
      cluster_.Get(kube::resources::kPods, {"default", absl::StrFormat("%s-0", kWorkspace)});
  ASSERT_TRUE(pod.has_value());
  const CommandResult result = RunCommand(
      {python, SourcePath("integration-tests/clients/grpc_client.py"), SourcePath("protos"),
       absl::StrFormat("%s:8001", pod->StringAt({"status", "podIP"}))});
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_THAT(result.out, HasSubstr("all good"));
}

TEST_F(ClientsTest, BrowserSendsAMessageOnThePageAndSeesTheAnswer) {
  const std::string chromium = FindProgram("chromium");
  if (chromium.empty()) {
    GTEST_SKIP() << "SKIPPED: chromium is not installed: run tools/setup --tests";
  }
  const CommandResult result =
      RunCommand({"/usr/bin/python3", SourcePath("integration-tests/clients/browser_client.py"),
                  chromium, url_, Binary("../chat-page.png")},
                 {.timeout = absl::Seconds(120)});
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_THAT(result.out, HasSubstr("all good"));
}

}  // namespace
}  // namespace integration

#include "common/kube/kubeconfig.h"

#include <filesystem>

#include <unistd.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/base/files.h"
#include "common/kube/credentials.h"

namespace kube {
namespace {

using ::testing::HasSubstr;

// A folder of its own for each test.
class FolderTest : public ::testing::Test {
 protected:
  FolderTest() {
    std::string pattern = ::testing::TempDir() + "kubeconfig.XXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~FolderTest() override { (void)base::RemoveAll(folder_); }

  std::string Write(const std::string& name, std::string_view text, mode_t mode = 0600) {
    const std::string path = folder_ + "/" + name;
    EXPECT_TRUE(base::WriteFileAtomic(path, text, mode).ok());
    return path;
  }

  std::string folder_;
};

using KubeconfigTest = FolderTest;

std::string Config(std::string_view user, std::string_view cluster = "") {
  return absl::StrFormat(R"(
apiVersion: v1
kind: Config
current-context: here
contexts:
- name: here
  context: {cluster: c, user: u, namespace: space}
clusters:
- name: c
  cluster:
    server: https://127.0.0.1:6443/
%s
users:
- name: u
  user:
%s
)",
                         cluster, user);
}

std::string Error(const absl::StatusOr<Connection>& connection) {
  return std::string(connection.status().message());
}

TEST_F(KubeconfigTest, TheCurrentContextSaysWhereAndAsWhom) {
  const auto connection = Connect({.kubeconfig = Write("config", Config("    token: secret"))});
  ASSERT_TRUE(connection.ok()) << connection.status();
  EXPECT_EQ(connection->server, "https://127.0.0.1:6443");
  EXPECT_EQ(connection->namespace_name, "space");
}

TEST_F(KubeconfigTest, OfAListOfFilesTheFirstWins) {
  const std::string first = Write("first", "current-context: there\n");
  const std::string second = Write("second", Config("    token: a"));
  const std::string paths = first + ":" + folder_ + "/missing:" + second;
  EXPECT_THAT(Error(Connect({.kubeconfig = paths})), HasSubstr("no context \"there\""));
  EXPECT_TRUE(Connect({.kubeconfig = paths, .context = "here"}).ok());
}

TEST_F(KubeconfigTest, ErrorsNameTheFileAndWhatIsWrong) {
  EXPECT_EQ(Connect({.kubeconfig = folder_ + "/none"}).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_THAT(Error(Connect({.kubeconfig = Write("a", "a: [")})), HasSubstr("/a: invalid YAML"));
  EXPECT_THAT(Error(Connect({.kubeconfig = Write("b", Config("    auth-provider: {}"))})),
              HasSubstr("\"auth-provider\" is not supported"));
  EXPECT_THAT(
      Error(Connect({.kubeconfig = Write("c", Config("    token: a", "    proxy-url: http://p"))})),
      HasSubstr("\"proxy-url\" is not supported"));
  EXPECT_THAT(Error(Connect({.kubeconfig = Write("d", Config("    client-key-data: '?'"))})),
              HasSubstr("client-key-data is no base64"));
  EXPECT_THAT(Error(Connect({})), HasSubstr("--kubeconfig"));
}

TEST_F(KubeconfigTest, InAClusterTheMountedFilesAreUsed) {
  Write("namespace", "pods-own");
  const auto connection = Connect(
      {.service_host = "fd00::1", .service_port = "443", .service_account_folder = folder_});
  ASSERT_TRUE(connection.ok()) << connection.status();
  EXPECT_EQ(connection->server, "https://[fd00::1]:443");
  EXPECT_EQ(connection->namespace_name, "pods-own");
}

using CredentialTest = FolderTest;

TEST_F(CredentialTest, ATokenFileIsReadAgainAfterAMinuteAndWhenRefused) {
  base::ManualClock clock;
  const std::string path = Write("token", "one\n");
  const auto source = MakeFileCredential(
      {.token_path = path, .certificate_path = "", .private_key_path = ""}, {}, clock);
  EXPECT_EQ(source->Get(false)->authorization, "Bearer one");
  Write("token", "two\n");
  EXPECT_EQ(source->Get(false)->authorization, "Bearer one");
  EXPECT_EQ(source->Get(true)->authorization, "Bearer two");
  Write("token", "three\n");
  clock.Advance(absl::Seconds(60));
  EXPECT_EQ(source->Get(false)->authorization, "Bearer three");
  ASSERT_TRUE(base::RemoveAll(path).ok());
  EXPECT_EQ(source->Get(true)->authorization, "Bearer three") << "a file that is being replaced";
}

TEST_F(CredentialTest, AProgramGivesACredentialUntilItExpires) {
  base::ManualClock clock;
  const std::string counter = folder_ + "/count";
  const std::string script = Write("plugin",
                                   absl::StrFormat(R"(#!/bin/sh
echo x >> %s
case "$KUBERNETES_EXEC_INFO" in *ExecCredential*) ;; *) exit 3;; esac
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{'
echo '"token":"'$1$GREETING'","expirationTimestamp":"2023-11-14T22:20:00Z"}}'
)",
                                                   counter),
                                   0700);
  const auto source = MakeExecCredential(
      {.command = script, .arguments = {"a"}, .environment = {{"GREETING", "b"}}}, clock);
  for (int i = 0; i < 3; ++i) {
    const auto credential = source->Get(false);
    ASSERT_TRUE(credential.ok()) << credential.status();
    EXPECT_EQ(credential->authorization, "Bearer ab");
  }
  EXPECT_EQ(base::ReadFile(counter)->size(), 2U) << "one run";
  clock.Advance(absl::Minutes(10));
  ASSERT_TRUE(source->Get(false).ok());
  EXPECT_EQ(base::ReadFile(counter)->size(), 4U) << "expired";
}

TEST_F(CredentialTest, AProgramThatFailsIsNamed) {
  const std::string fails = Write("fails", "#!/bin/sh\nexit 7\n", 0700);
  const std::string babbles = Write("babbles", "#!/bin/sh\necho hello\n", 0700);
  const std::string hangs = Write("hangs", "#!/bin/sh\nexec sleep 60\n", 0700);
  const auto error = [](ExecPlugin plugin) {
    const auto credential = MakeExecCredential(std::move(plugin))->Get(false);
    EXPECT_EQ(credential.status().code(), absl::StatusCode::kUnauthenticated);
    return std::string(credential.status().message());
  };
  EXPECT_THAT(error({.command = fails}), HasSubstr("fails ended with status 7"));
  EXPECT_THAT(error({.command = babbles}), HasSubstr("babbles printed no ExecCredential"));
  EXPECT_THAT(error({.command = "no-such-plugin", .install_hint = "Install it."}),
              HasSubstr("No such file or directory. Install it."));
  EXPECT_THAT(error({.command = hangs, .timeout = absl::Milliseconds(50)}),
              HasSubstr("gave no credential in time"));
}

}  // namespace
}  // namespace kube

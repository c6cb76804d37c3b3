// The real client on a real socket, against a server that misbehaves.

#include <unistd.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/base/files.h"
#include "common/kube/informer.h"
#include "common/kube/kubeconfig.h"
#include "common/net/scripted_server.h"

namespace kube {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kPods[] = "/api/v1/pods";
constexpr char kPodJson[] = R"({"metadata":{"name":"a","resourceVersion":"5","uid":"u"}})";

class WireTest : public ::testing::Test {
 protected:
  WireTest() {
    std::string pattern = ::testing::TempDir() + "wire.XXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~WireTest() override { (void)base::RemoveAll(folder_); }

  void Connect(const std::string& user = "{}") {
    const std::string path = folder_ + "/config";
    ASSERT_TRUE(base::WriteFileAtomic(path, absl::StrFormat(R"({
      "current-context": "x",
      "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
      "clusters": [{"name": "c", "cluster": {"server": "%s"}}],
      "users": [{"name": "u", "user": %s}]})",
                                                            server_.url(), user))
                    .ok());
    auto connection = kube::Connect({.kubeconfig = path});
    ASSERT_TRUE(connection.ok()) << connection.status();
    connection_ = *std::move(connection);
    client_ = std::make_unique<Client>(
        *connection_.transport,
        ClientOptions{.sleep = [this](absl::Duration wait) { waits_.push_back(wait); }});
  }

  std::string folder_;
  net::ScriptedServer server_;
  std::vector<absl::Duration> waits_;
  Connection connection_;
  std::unique_ptr<Client> client_;
};

TEST_F(WireTest, ARefusedTokenIsReadAgainAndTheCallRepeatedOnce) {
  const std::string token = folder_ + "/token";
  ASSERT_TRUE(base::WriteFileAtomic(token, "old").ok());
  Connect(R"({"tokenFile": "token"})");
  server_.Enqueue("GET", "/api/v1/nodes/n", {.response = {.status = 200, .body = "{}"}});
  ASSERT_TRUE(client_->Get(resources::kNodes, {"", "n"}).ok());
  ASSERT_TRUE(base::WriteFileAtomic(token, "new").ok());
  server_.Enqueue("GET", "/api/v1/nodes/n", {.response = {.status = 401}});
  server_.Enqueue("GET", "/api/v1/nodes/n", {.response = {.status = 200, .body = "{}"}});
  EXPECT_TRUE(client_->Get(resources::kNodes, {"", "n"}).ok());
  const auto requests = server_.requests();
  ASSERT_EQ(requests.size(), 3U);
  EXPECT_EQ(requests[1].headers.Find("Authorization"), "Bearer old");
  EXPECT_EQ(requests[2].headers.Find("Authorization"), "Bearer new");
}

TEST_F(WireTest, BasicCredentialsAndImpersonationAreSent) {
  Connect(R"({"username": "me", "password": "pw", "as": "other", "as-groups": ["g", "h"]})");
  server_.Enqueue("GET", "/api/v1/nodes/n", {.response = {.status = 200, .body = "{}"}});
  ASSERT_TRUE(client_->Get(resources::kNodes, {"", "n"}).ok());
  const net::Headers headers = server_.requests()[0].headers;
  EXPECT_EQ(headers.Find("Authorization"), "Basic " + absl::Base64Escape("me:pw"));
  EXPECT_EQ(headers.Find("Impersonate-User"), "other");
  EXPECT_THAT(headers.FindAll("Impersonate-Group"), ElementsAre("g", "h"));
}

TEST_F(WireTest, ReadsSurviveCutsAndWritesDoNotRepeat) {
  Connect();
  server_.Enqueue("GET", "/api/v1/nodes/n", {.cut_before_answer = true});
  server_.Enqueue("GET", "/api/v1/nodes/n",
                  {.response = {.status = 200, .body = "{}"}, .cut_inside_body = true});
  server_.Enqueue("GET", "/api/v1/nodes/n", {.response = {.status = 200, .body = "{}"}});
  EXPECT_TRUE(client_->Get(resources::kNodes, {"", "n"}).ok());

  server_.Enqueue("POST", "/api/v1/nodes", {.cut_before_answer = true});
  const size_t before = server_.requests().size();
  EXPECT_EQ(client_->Create(resources::kNodes, *Object::Parse(R"({"metadata":{"name":"n"}})"))
                .status()
                .code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(server_.requests().size(), before + 1);
}

TEST_F(WireTest, TooManyRequestsAreWaitedFor) {
  Connect();
  server_.Enqueue("GET", "/api/v1/nodes/n",
                  {.response = {.status = 429, .headers = {{"Retry-After", "1"}}}});
  server_.Enqueue("GET", "/api/v1/nodes/n", {.response = {.status = 200, .body = "{}"}});
  EXPECT_TRUE(client_->Get(resources::kNodes, {"", "n"}).ok());
  EXPECT_THAT(waits_, ElementsAre(absl::Seconds(1)));
}

TEST_F(WireTest, AServerThatIsNotThereIsNamed) {
  Connect();
  const std::string url = server_.url();
  Connection dead;
  {
    net::ScriptedServer gone;
    ASSERT_TRUE(base::WriteFileAtomic(folder_ + "/dead", absl::StrFormat(R"({
      "current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "c"}}],
      "clusters": [{"name": "c", "cluster": {"server": "%s"}}]})",
                                                                         gone.url()))
                    .ok());
    dead = *kube::Connect({.kubeconfig = folder_ + "/dead"});
  }
  Client client(*dead.transport, {.sleep = [](absl::Duration) {}});
  const absl::Status status = client.Get(resources::kNodes, {"", "n"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("get Node n: "));
}

TEST_F(WireTest, AnInformerOverTheWireSurvivesHalfLinesAndCuts) {
  Connect();
  server_.SetFallback([](const net::Request& request) -> net::ScriptedAnswer {
    if (request.target.find("watch=true") == std::string::npos) {
      return {.response = {.status = 200,
                           .body = absl::StrFormat(
                               R"({"metadata":{"resourceVersion":"5"},"items":[%s]})", kPodJson)}};
    }
    const std::string event =
        R"({"type":"MODIFIED","object":{"metadata":{"name":"a","resourceVersion":"6","uid":"u"}}})"
        "\n";
    return {.chunks = {event.substr(0, 30), event.substr(30), "{\"type\":\"ADD"},
            .cut_after_chunks = true};
  });
  Informer informer(*client_, resources::kPods);
  std::vector<std::string> told;
  informer.AddHandler(
      [&told](const InformerEvent& event) { told.emplace_back(event.object.resource_version()); });
  while (informer.Step(absl::Seconds(5)) == absl::ZeroDuration()) {
  }
  EXPECT_THAT(told, ElementsAre("5", "6"));
  EXPECT_EQ(server_.requests().at(0).path(), kPods);
  // The watch goes on at version 6, without a list.
  informer.Step(absl::ZeroDuration());
  EXPECT_THAT(server_.requests().back().target, HasSubstr("resourceVersion=6"));
}

TEST_F(WireTest, StoppingAnInformerEndsAWatchThatIsSilent) {
  Connect();
  server_.SetFallback([](const net::Request& request) -> net::ScriptedAnswer {
    if (request.target.find("watch=true") == std::string::npos) {
      return {.response = {.status = 200,
                           .body = R"({"metadata":{"resourceVersion":"5"},"items":[]})"}};
    }
    return {.chunks = {"\n"}, .hold_after_chunks = true};
  });
  Informer informer(*client_, resources::kPods);
  informer.Start();
  ASSERT_TRUE(informer.AwaitSync(absl::Seconds(10)));
  ASSERT_TRUE(server_.AwaitRequests(2));
  informer.Stop();
  EXPECT_TRUE(informer.synced());
}

}  // namespace
}  // namespace kube

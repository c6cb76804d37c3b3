#include "common/net/http_client.h"

#include <thread>

#include <unistd.h>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/net/certificates.h"
#include "common/net/http_server.h"
#include "common/net/scripted_server.h"

namespace net {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kSoon = absl::Seconds(10);

TEST(HttpClientTest, AnswersOfAnyStatusAreReturnedWhole) {
  ScriptedServer server;
  server.Enqueue("POST", "/a",
                 {.response = {.status = 422, .headers = {{"X", "y"}}, .body = "no"}});
  HttpClient client({.base_url = server.url() + "/prefix/"});
  const auto missing = client.Send({.method = "GET", .target = "/a?b=c"});
  ASSERT_TRUE(missing.ok()) << missing.status();
  EXPECT_EQ(missing->status, 404);

  HttpClient plain({.base_url = server.url()});
  const auto refused = plain.Send({.method = "POST", .target = "/a", .body = "data"});
  ASSERT_TRUE(refused.ok()) << refused.status();
  EXPECT_EQ(refused->status, 422);
  EXPECT_EQ(refused->headers.Find("x"), "y");
  EXPECT_EQ(refused->body, "no");

  const std::vector<Request> requests = server.requests();
  EXPECT_EQ(requests[0].target, "/prefix/a?b=c");
  EXPECT_EQ(requests[1].body, "data");
  EXPECT_EQ(requests[1].headers.Find("User-Agent"), "kaito-cpp");
}

TEST(HttpClientTest, ChunkedAnswersAreJoined) {
  ScriptedServer server;
  server.SetDefault("GET", "/", {.chunks = {"a", "bc", "def"}});
  HttpClient client({.base_url = server.url()});
  for (int i = 0; i < 3; ++i) {
    const auto response = client.Send({});
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->body, "abcdef");
  }
}

TEST(HttpClientTest, CutConnectionsAreUnavailable) {
  ScriptedServer server;
  server.SetDefault("GET", "/before", {.cut_before_answer = true});
  server.SetDefault("GET", "/inside", {.response = {.body = "abcdef"}, .cut_inside_body = true});
  HttpClient client({.base_url = server.url()});
  for (const char* target : {"/before", "/inside"}) {
    EXPECT_EQ(client.Send({.target = target}).status().code(), absl::StatusCode::kUnavailable)
        << target;
  }
}

TEST(HttpClientTest, NobodyListeningIsUnavailableAndNamesTheAddress) {
  int port = 0;
  {
    ScriptedServer gone;
    port = gone.port();
  }
  HttpClient client({.base_url = absl::StrFormat("http://127.0.0.1:%d", port)});
  const absl::Status status = client.Send({}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(absl::StrFormat("connect to 127.0.0.1 port %d", port)));
}

TEST(HttpClientTest, ASlowAnswerEndsAtItsDeadline) {
  ScriptedServer server;
  server.SetDefault("GET", "/", {.delay = absl::Seconds(60)});
  HttpClient client({.base_url = server.url()});
  EXPECT_EQ(client.Send({}, absl::Milliseconds(30)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST(HttpClientTest, TooLargeAnswersAreRefused) {
  ScriptedServer server;
  server.SetDefault("GET", "/", {.response = {.body = std::string(101, 'x')}});
  HttpClient client({.base_url = server.url(), .response_bytes_max = 100});
  EXPECT_EQ(client.Send({}).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(HttpClientTest, ConnectionsAreKeptAndReplacedWhenTheServerClosedThem) {
  const auto start = [](int port) {
    return *HttpServer::Start({.port = port}, [](const std::shared_ptr<Exchange>& exchange) {
      exchange->Send({.body = std::string(exchange->peer())});
    });
  };
  std::unique_ptr<HttpServer> server = start(0);
  const int port = server->port();
  HttpClient client({.base_url = absl::StrFormat("http://127.0.0.1:%d", port)});
  const auto first = client.Send({});
  const auto second = client.Send({});
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->body, second->body) << "the connection was not kept";

  server.reset();
  server = start(port);
  const auto third = client.Send({.method = "POST"});
  ASSERT_TRUE(third.ok()) << third.status();
}

TEST(HttpClientTest, StreamIsReadPieceByPieceAndSurvivesAReadThatTimedOut) {
  ScriptedServer server;
  server.SetDefault("GET", "/watch", {.chunks = {"one", "two"}, .hold_after_chunks = true});
  HttpClient client({.base_url = server.url()});
  auto stream = client.Open({.target = "/watch"});
  ASSERT_TRUE(stream.ok()) << stream.status();
  EXPECT_EQ((*stream)->status(), 200);
  std::string text;
  while (text.size() < 6) {
    const auto piece = (*stream)->Read(kSoon);
    ASSERT_TRUE(piece.ok()) << piece.status();
    text += *piece;
  }
  EXPECT_EQ(text, "onetwo");
  EXPECT_EQ((*stream)->Read(absl::Milliseconds(10)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ((*stream)->Read(absl::Milliseconds(10)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST(HttpClientTest, CancelEndsABlockedRead) {
  ScriptedServer server;
  server.SetDefault("GET", "/watch", {.hold_after_chunks = true});
  HttpClient client({.base_url = server.url()});
  auto stream = client.Open({.target = "/watch"});
  ASSERT_TRUE(stream.ok()) << stream.status();
  std::thread canceller([&] { (*stream)->Cancel(); });
  EXPECT_EQ((*stream)->Read(kSoon).status().code(), absl::StatusCode::kCancelled);
  canceller.join();
  EXPECT_EQ((*stream)->Read(kSoon).status().code(), absl::StatusCode::kCancelled);
}

TEST(HttpClientTest, StreamThatIsCutIsUnavailableAndOneThatEndsIsEmpty) {
  ScriptedServer server;
  server.Enqueue("GET", "/w", {.chunks = {"a"}, .cut_after_chunks = true});
  server.Enqueue("GET", "/w", {.chunks = {"a"}});
  HttpClient client({.base_url = server.url()});
  auto cut = client.Open({.target = "/w"});
  ASSERT_TRUE(cut.ok()) << cut.status();
  EXPECT_EQ(*(*cut)->Read(kSoon), "a");
  EXPECT_EQ((*cut)->Read(kSoon).status().code(), absl::StatusCode::kUnavailable);
  auto whole = client.Open({.target = "/w"});
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(*(*whole)->Read(kSoon), "a");
  EXPECT_EQ(*(*whole)->Read(kSoon), "");
  EXPECT_EQ(*(*whole)->Read(kSoon), "");
}

TEST(HttpClientTest, UnixSocketIsSpokenTo) {
  const std::string path = absl::StrFormat("%s/net-%d.sock", testing::TempDir(), getpid());
  auto server =
      HttpServer::Start({.unix_socket = path}, [](const std::shared_ptr<Exchange>& exchange) {
        exchange->Send({.body = std::string(exchange->peer())});
      });
  ASSERT_TRUE(server.ok()) << server.status();
  HttpClient client({.base_url = "unix:" + path});
  const auto response = client.Send({.target = "/x"});
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->body, "unix");
  EXPECT_EQ(HttpServer::Start({.unix_socket = path}, nullptr).status().code(),
            absl::StatusCode::kAlreadyExists);
}

class TlsTest : public testing::Test {
 protected:
  void SetUp() override {
    ca_ = *MakeCa("test authority");
    pair_ = *Issue(
        ca_, {.common_name = "server", .subject_alternative_names = {"localhost", "127.0.0.1"}});
    auto server = HttpServer::Start({.certificate_pem = pair_.certificate_pem,
                                     .private_key_pem = pair_.private_key_pem,
                                     .client_ca_pem = ca_.certificate_pem,
                                     .handler_threads = 2},
                                    [](const std::shared_ptr<Exchange>& exchange) {
                                      std::string who(exchange->client_common_name());
                                      for (const auto& name : exchange->client_organizations()) {
                                        who += "," + name;
                                      }
                                      exchange->Send({.body = who + exchange->request().body});
                                    });
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  HttpClientOptions Options() const {
    return {.base_url = absl::StrFormat("https://127.0.0.1:%d", server_->port()),
            .tls = {.ca_pem = ca_.certificate_pem}};
  }

  CertificatePair ca_;
  CertificatePair pair_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(TlsTest, LargeBodiesPassBothWays) {
  HttpClient client(Options());
  const std::string body(3 << 20, 'x');
  for (int i = 0; i < 2; ++i) {
    const auto response = client.Send({.method = "POST", .body = body});
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->body, body);
  }
}

TEST_F(TlsTest, ClientCertificateTellsNameAndOrganizations) {
  const auto admin =
      *Issue(ca_, {.common_name = "admin", .organizations = {"system:masters", "ops"}});
  HttpClientOptions options = Options();
  options.tls.certificate_pem = admin.certificate_pem;
  options.tls.private_key_pem = admin.private_key_pem;
  HttpClient client(options);
  const auto response = client.Send({});
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->body, "admin,system:masters,ops");

  client.SetTls({.ca_pem = ca_.certificate_pem});
  const auto anonymous = client.Send({});
  ASSERT_TRUE(anonymous.ok()) << anonymous.status();
  EXPECT_EQ(anonymous->body, "") << "an idle connection with the old certificate was used";
}

TEST_F(TlsTest, UntrustedServersAndClientsAreUnauthenticated) {
  const auto other_ca = *MakeCa("other authority");
  HttpClientOptions options = Options();
  options.tls.ca_pem = other_ca.certificate_pem;
  EXPECT_EQ(HttpClient(options).Send({}).status().code(), absl::StatusCode::kUnauthenticated);

  options = Options();
  options.tls.server_name = "example.org";
  EXPECT_EQ(HttpClient(options).Send({}).status().code(), absl::StatusCode::kUnauthenticated);
  options.tls.insecure_skip_verify = true;
  EXPECT_TRUE(HttpClient(options).Send({}).ok());

  const auto stranger = *Issue(other_ca, {.common_name = "admin"});
  options = Options();
  options.tls.certificate_pem = stranger.certificate_pem;
  options.tls.private_key_pem = stranger.private_key_pem;
  EXPECT_EQ(HttpClient(options).Send({}).status().code(), absl::StatusCode::kUnauthenticated);
}

TEST_F(TlsTest, NewConnectionsUseARotatedCertificate) {
  const auto next =
      *Issue(ca_, {.common_name = "next", .subject_alternative_names = {"next.test"}});
  ASSERT_TRUE(server_->SetCertificate(next.certificate_pem, next.private_key_pem).ok());
  HttpClientOptions options = Options();
  EXPECT_EQ(HttpClient(options).Send({}).status().code(), absl::StatusCode::kUnauthenticated);
  options.tls.server_name = "next.test";
  EXPECT_TRUE(HttpClient(options).Send({}).ok());
}

}  // namespace
}  // namespace net

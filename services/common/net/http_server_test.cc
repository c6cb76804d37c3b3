#include "common/net/http_server.h"

#include <algorithm>
#include <utility>

#include <unistd.h>

#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/net/client_socket.h"

namespace net {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr absl::Duration kSoon = absl::Seconds(10);
const std::string kGet = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

void Echo(const std::shared_ptr<Exchange>& exchange) {
  exchange->Send({.headers = {{"X-Method", exchange->request().method}},
                  .body = exchange->request().target + "|" + exchange->request().body});
}

std::unique_ptr<HttpServer> Serve(Handler handler, HttpServerOptions options = {}) {
  auto server = HttpServer::Start(std::move(options), std::move(handler));
  EXPECT_TRUE(server.ok()) << server.status();
  return *std::move(server);
}

// A client that sends exactly what a test says.
class RawClient {
 public:
  explicit RawClient(const HttpServer& server) {
    EXPECT_TRUE(socket_.ConnectTcp("127.0.0.1", server.port(), SteadyNow() + kSoon).ok());
  }

  void Send(std::string_view bytes) {
    EXPECT_TRUE(socket_.WriteAll(bytes, SteadyNow() + kSoon).ok());
  }

  // All that comes until the server closes.
  std::string ReadAll() {
    while (true) {
      const auto size = socket_.Read(&received_, SteadyNow() + kSoon);
      EXPECT_TRUE(size.ok()) << size.status() << " after " << received_;
      if (!size.ok() || *size == 0) return received_;
    }
  }

  // All so far, once it ends in `end`.
  std::string ReadUntil(std::string_view end) {
    while (!received_.ends_with(end)) {
      const auto size = socket_.Read(&received_, SteadyNow() + kSoon);
      if (!size.ok() || *size == 0) {
        ADD_FAILURE() << "ended after " << received_;
        break;
      }
    }
    return received_;
  }

 private:
  ClientSocket socket_;
  std::string received_;
};

std::string Ask(const HttpServer& server, std::string_view bytes) {
  RawClient client(server);
  client.Send(bytes);
  return client.ReadAll();
}

TEST(HttpServerTest, PipelinedRequestsAreAnsweredInOrder) {
  const auto server = Serve(Echo);
  const std::string answer =
      Ask(*server,
          "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
          "POST /2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n"
          "GET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  const size_t first = answer.find("/1|abc");
  const size_t second = answer.find("/2|de");
  const size_t third = answer.find("/3|");
  EXPECT_LT(first, second);
  EXPECT_LT(second, third);
  EXPECT_NE(third, std::string::npos) << answer;
}

TEST(HttpServerTest, HeadKeepsTheLengthAndDropsTheBody) {
  const auto server = Serve(Echo);
  const std::string answer =
      Ask(*server, "HEAD /abc HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n"));
}

TEST(HttpServerTest, AmbiguousFramingIsRefusedAndTheConnectionClosed) {
  const auto server = Serve(Echo);
  for (const std::string request :
       {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "GET / HTTP/1.1\nHost: h\n\n", "GET / HTTP/1.1\r\nHost: h\r\n a: b\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}) {
    EXPECT_THAT(Ask(*server, request), StartsWith("HTTP/1.1 400 Bad Request\r\n")) << request;
  }
}

TEST(HttpServerTest, LimitsAreAnsweredWithTheirStatus) {
  const auto server =
      Serve(Echo, {.request_line_bytes_max = 100, .header_fields_max = 3, .body_bytes_max = 10});
  EXPECT_THAT(Ask(*server, "GET /" + std::string(200, 'x') + " HTTP/1.1\r\nHost: h\r\n\r\n"),
              StartsWith("HTTP/1.1 431 "));
  EXPECT_THAT(Ask(*server, "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n"),
              StartsWith("HTTP/1.1 431 "));
  EXPECT_THAT(Ask(*server, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n"),
              StartsWith("HTTP/1.1 413 "))
      << "judged before the body comes";
  EXPECT_THAT(Ask(*server,
                  "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "b\r\n01234567890\r\n0\r\n\r\n"),
              StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(Ask(*server,
                  "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
                  "Content-Length: 10\r\n\r\n0123456789"),
              EndsWith("/|0123456789"));
}

TEST(HttpServerTest, SlowHeadersAndBodiesAre408) {
  const auto server = Serve(
      Echo, {.header_timeout = absl::Milliseconds(50), .body_timeout = absl::Milliseconds(50)});
  EXPECT_THAT(Ask(*server, "GET / HTTP/1.1\r\nHo"), StartsWith("HTTP/1.1 408 "));
  EXPECT_THAT(Ask(*server, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab"),
              StartsWith("HTTP/1.1 408 "));
  EXPECT_EQ(Ask(*server, ""), "") << "a connection without a request is closed without a word";
}

TEST(HttpServerTest, IdleConnectionsAreClosedAfterTheirTime) {
  const auto server = Serve(Echo, {.idle_timeout = absl::Milliseconds(50)});
  EXPECT_THAT(Ask(*server, kGet), EndsWith("\r\n\r\n/|"));
}

TEST(HttpServerTest, StreamedAnswerIsChunkedAndFlushedPieceByPiece) {
  absl::Notification go_on;
  const auto server = Serve(
      [&](const std::shared_ptr<Exchange>& exchange) {
        exchange->Begin(200, {{"Content-Type", "text/event-stream"}});
        exchange->Write("one");
        go_on.WaitForNotification();
        exchange->Write("two");
        exchange->End();
        EXPECT_FALSE(exchange->Write("late"));
      },
      {.handler_threads = 1});
  RawClient client(*server);
  client.Send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(client.ReadUntil("3\r\none\r\n"), HasSubstr("Transfer-Encoding: chunked\r\n"));
  go_on.Notify();
  EXPECT_THAT(client.ReadAll(), EndsWith("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"));
}

TEST(HttpServerTest, AbortEndsTheStreamWithoutItsLastChunk) {
  const auto server = Serve([](const std::shared_ptr<Exchange>& exchange) {
    exchange->Begin(200, {});
    exchange->Write("one");
    exchange->Abort();
  });
  EXPECT_THAT(Ask(*server, kGet), EndsWith("\r\n3\r\none\r\n"));
}

TEST(HttpServerTest, OldClientsGetAStreamThatEndsWithTheConnection) {
  const auto server = Serve([](const std::shared_ptr<Exchange>& exchange) {
    exchange->Begin(200, {});
    exchange->Write("one");
    exchange->End();
  });
  const std::string answer = Ask(*server, "GET / HTTP/1.0\r\n\r\n");
  EXPECT_THAT(answer, EndsWith("\r\n\r\none"));
  EXPECT_THAT(answer, Not(HasSubstr("chunked")));
}

TEST(HttpServerTest, AClientThatLeavesIsNoticedWhileTheAnswerIsPending) {
  absl::Notification arrived;
  absl::Notification closed;
  absl::Mutex mutex;
  std::shared_ptr<Exchange> kept;
  const auto server = Serve([&](const std::shared_ptr<Exchange>& exchange) {
    exchange->OnClose([&] { closed.Notify(); });
    {
      absl::MutexLock lock(&mutex);
      kept = exchange;
    }
    arrived.Notify();
  });
  {
    RawClient client(*server);
    client.Send(kGet);
    ASSERT_TRUE(arrived.WaitForNotificationWithTimeout(kSoon));
    EXPECT_EQ(server->exchanges_open(), 1);
  }
  EXPECT_TRUE(closed.WaitForNotificationWithTimeout(kSoon));
  EXPECT_EQ(server->exchanges_open(), 0);
  absl::MutexLock lock(&mutex);
  EXPECT_TRUE(kept->closed());
  kept->Begin(200, {});
  EXPECT_FALSE(kept->Write("x"));
  kept.reset();
}

TEST(HttpServerTest, AClientThatTakesNothingIsCutAfterTheWriteTimeout) {
  absl::Notification closed;
  absl::Mutex mutex;
  std::shared_ptr<Exchange> kept;
  const auto server = Serve(
      [&](const std::shared_ptr<Exchange>& exchange) {
        exchange->OnClose([&] { closed.Notify(); });
        exchange->Begin(200, {});
        exchange->Write(std::string(32 << 20, 'x'));
        EXPECT_GT(exchange->unsent_bytes(), 16U << 20);
        absl::MutexLock lock(&mutex);
        kept = exchange;
      },
      {.write_timeout = absl::Milliseconds(100)});
  RawClient client(*server);
  client.Send(kGet);
  EXPECT_TRUE(closed.WaitForNotificationWithTimeout(kSoon));
  absl::MutexLock lock(&mutex);
  kept.reset();
}

TEST(HttpServerTest, ADroppedExchangeIs500) {
  const auto server = Serve([](const std::shared_ptr<Exchange>&) {});
  EXPECT_THAT(Ask(*server, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
              StartsWith("HTTP/1.1 500 "));
}

TEST(HttpServerTest, HeadCheckRefusesBeforeTheBody) {
  HttpServerOptions options;
  options.head_check = [](const Request& head, std::string_view peer,
                          std::optional<uint64_t> length) -> std::optional<Response> {
    EXPECT_THAT(std::string(peer), StartsWith("127.0.0.1:"));
    EXPECT_EQ(length, 1000U);
    if (head.headers.Find("Authorization")) return std::nullopt;
    return Response{.status = 401, .body = "no"};
  };
  const auto server = Serve(Echo, std::move(options));
  const std::string answer =
      Ask(*server, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 401 "));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
}

TEST(HttpServerTest, ContinueIsSentWhenTheClientWaitsForIt) {
  const auto server = Serve(Echo);
  RawClient client(*server);
  client.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.ReadUntil("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.Send("ab");
  EXPECT_THAT(client.ReadUntil("/|ab"), HasSubstr("HTTP/1.1 200 OK\r\n"));
}

TEST(HttpServerTest, ConnectionsBeyondTheLimitGet503) {
  const auto server = Serve(Echo, {.connections_max = 1});
  RawClient first(*server);
  first.Send(kGet);
  first.ReadUntil("/|");
  EXPECT_THAT(Ask(*server, ""), StartsWith("HTTP/1.1 503 "));
}

TEST(HttpServerTest, UpgradedConnectionCarriesRawBytesBothWays) {
  absl::Mutex mutex;
  std::shared_ptr<Exchange> kept;
  absl::Notification peer_closed;
  const auto server = Serve([&](const std::shared_ptr<Exchange>& exchange) {
    absl::MutexLock lock(&mutex);
    kept = exchange;
    exchange->Upgrade({{"Connection", "Upgrade"}, {"Upgrade", "echo"}},
                      [&, raw = exchange.get()](std::string_view data) {
                        if (data.empty()) return peer_closed.Notify();
                        raw->Write("<" + std::string(data) + ">");
                        if (data == "bye") raw->End();
                      });
  });
  {
    RawClient client(*server);
    client.Send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly");
    EXPECT_THAT(client.ReadUntil("\r\n\r\n<early>"),
                StartsWith("HTTP/1.1 101 Switching Protocols\r\n"));
    client.Send("bye");
    EXPECT_THAT(client.ReadAll(), EndsWith("<early><bye>"));
  }
  absl::MutexLock lock(&mutex);
  kept.reset();
}

TEST(HttpServerTest, StopAcceptingLetsRunningExchangesFinish) {
  absl::Notification arrived;
  absl::Mutex mutex;
  std::shared_ptr<Exchange> kept;
  const auto server = Serve([&](const std::shared_ptr<Exchange>& exchange) {
    absl::MutexLock lock(&mutex);
    kept = exchange;
    arrived.Notify();
  });
  RawClient idle(*server);
  RawClient busy(*server);
  busy.Send(kGet);
  ASSERT_TRUE(arrived.WaitForNotificationWithTimeout(kSoon));
  server->StopAccepting();
  EXPECT_EQ(idle.ReadAll(), "");
  ClientSocket late;
  // The listener is closed by the I/O thread, which has closed `idle` already.
  EXPECT_FALSE(late.ConnectTcp("127.0.0.1", server->port(), SteadyNow() + kSoon).ok());
  {
    absl::MutexLock lock(&mutex);
    kept->Send({.body = "done"});
    kept.reset();
  }
  EXPECT_THAT(busy.ReadAll(), EndsWith("\r\n\r\ndone"));
}

TEST(HttpServerTest, DestructionClosesOpenExchanges) {
  absl::Notification arrived;
  absl::Notification closed;
  std::shared_ptr<Exchange> kept;
  auto server = Serve([&](const std::shared_ptr<Exchange>& exchange) {
    kept = exchange;
    exchange->OnClose([&] { closed.Notify(); });
    arrived.Notify();
  });
  RawClient client(*server);
  client.Send(kGet);
  ASSERT_TRUE(arrived.WaitForNotificationWithTimeout(kSoon));
  server.reset();
  EXPECT_TRUE(closed.HasBeenNotified());
  kept->Send({.body = "too late"});  // Outlives its server without harm.
}

TEST(HttpServerTest, ATakenPortNamesItsHolder) {
  const auto server = Serve(Echo);
  const auto second = HttpServer::Start({.port = server->port()}, Echo);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(
      std::string(second.status().message()),
      AllOf(HasSubstr(absl::StrFormat("port %d is taken by common_net_test", server->port())),
            HasSubstr(absl::StrFormat("(pid %d)", getpid()))));
}

TEST(HttpServerTest, ManyConnectionsOnSeveralThreadsAreServed) {
  const auto server = Serve(Echo, {.io_threads = 2, .handler_threads = 2});
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 50; ++i) clients.push_back(std::make_unique<RawClient>(*server));
  for (int round = 0; round < 4; ++round) {
    for (size_t i = 0; i < clients.size(); ++i) {
      clients[i]->Send(absl::StrFormat("GET /%d-%d HTTP/1.1\r\nHost: h\r\n\r\n", round, i));
    }
    for (size_t i = 0; i < clients.size(); ++i) {
      clients[i]->ReadUntil(absl::StrFormat("\r\n\r\n/%d-%d|", round, i));
    }
  }
}

}  // namespace
}  // namespace net

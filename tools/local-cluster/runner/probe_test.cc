#include "local-cluster/runner/probe.h"

#include <thread>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gtest/gtest.h"

#include "common/base/files.h"
#include "local-cluster/runner/http2_health.h"

namespace local_cluster {
namespace {

// Accepts one connection, reads once and answers with fixed bytes.
class OneAnswer {
 public:
  explicit OneAnswer(std::string answer) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(fd_, 4), 0);
    socklen_t size = sizeof(address);
    getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::jthread([this, answer = std::move(answer)] {
      const int connection = accept(fd_, nullptr, nullptr);
      char buffer[4096];
      [[maybe_unused]] ssize_t done = recv(connection, buffer, sizeof(buffer), 0);
      done = send(connection, answer.data(), answer.size(), MSG_NOSIGNAL);
      close(connection);
    });
  }
  ~OneAnswer() {
    shutdown(fd_, SHUT_RDWR);
    thread_.join();
    close(fd_);
  }
  int port() const { return port_; }

 private:
  int fd_;
  int port_ = 0;
  std::jthread thread_;
};

ProbeResult Try(const ActionSpec& action, const ExecContext& exec = {}) {
  EventLoop loop;
  ProbeResult result;
  const auto run =
      StartProbe(loop, action, "127.0.0.1", absl::Seconds(5), exec, [&](const ProbeResult& got) {
        result = got;
        loop.Stop();
      });
  loop.Run();
  return result;
}

ActionSpec Http(int port) {
  ActionSpec action;
  action.kind = ActionSpec::Kind::kHttpGet;
  action.port = port;
  return action;
}

TEST(ProbeTest, HttpStatusBelow400IsSuccess) {
  const OneAnswer ok("HTTP/1.1 204 No Content\r\n\r\n");
  EXPECT_TRUE(Try(Http(ok.port())).ok);
  const OneAnswer unready("HTTP/1.1 503 Service Unavailable\r\n\r\n");
  EXPECT_EQ(Try(Http(unready.port())).message, "HTTP probe failed with statuscode: 503");
}

TEST(ProbeTest, PortWithoutAListenerIsRefused) {
  int port = 0;
  {
    const OneAnswer gone("");
    port = gone.port();
    EXPECT_FALSE(Try(Http(port)).ok) << "the connection ended without an answer";
  }
  const ProbeResult result = Try(Http(port));
  EXPECT_FALSE(result.ok);
  EXPECT_NE(result.message.find("refused"), std::string::npos) << result.message;
}

TEST(ProbeTest, GrpcHealthIsReadFromTheBody) {
  ActionSpec action;
  action.kind = ActionSpec::Kind::kGrpc;
  const std::string settings("\0\0\0\4\0\0\0\0\0", 9);
  const std::string headers("\0\0\1\1\4\0\0\0\1\x88", 10);
  const OneAnswer serving(settings + headers +
                          std::string("\0\0\7\0\0\0\0\0\1\0\0\0\0\2\x08\1", 16));
  action.port = serving.port();
  EXPECT_TRUE(Try(action).ok);
  const OneAnswer not_serving(settings + headers +
                              std::string("\0\0\7\0\0\0\0\0\1\0\0\0\0\2\x08\2", 16));
  action.port = not_serving.port();
  EXPECT_FALSE(Try(action).ok);
}

TEST(ProbeTest, ExecProbeSucceedsWithExitCodeZero) {
  ActionSpec action;
  ExecContext exec{.keeper = base::ExecutableFolder() + "/pod-keeper",
                   .command = {"/bin/sh", "-c", "exit $CODE"},
                   .environment = {"CODE=0"},
                   .folder = "/"};
  EXPECT_TRUE(Try(action, exec).ok);
  exec.environment = {"CODE=2"};
  EXPECT_EQ(Try(action, exec).message, "command exited with code 2");
}

TEST(HealthCheckReaderTest, HostileFramesFail) {
  std::string reply;
  EXPECT_EQ(HealthCheckReader().Feed(std::string("\xff\xff\xff\0\0\0\0\0\1", 9), reply),
            HealthCheckReader::Result::kFailed);
  EXPECT_EQ(HealthCheckReader().Feed(std::string("\0\0\4\3\0\0\0\0\1\0\0\0\2", 13), reply),
            HealthCheckReader::Result::kFailed);
}

}  // namespace
}  // namespace local_cluster

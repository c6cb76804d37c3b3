#include "local-cluster/runner/service_proxy.h"

#include <thread>

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace local_cluster {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(ServiceProxyTest, PortsHaveTheReadyEndpointsOfTheirName) {
  const kube::Object service = *kube::Object::Parse(R"({"spec": {"ports": [
      {"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"},
      {"name": "metrics", "port": 90}]}})");
  const kube::Object slice = *kube::Object::Parse(R"({
      "ports": [{"name": "http", "port": 5000}],
      "endpoints": [{"addresses": ["127.32.0.1"], "conditions": {"ready": true}},
                    {"addresses": ["127.32.0.2"], "conditions": {"ready": false}}]})");
  const std::vector<ServicePort> ports = PlanServicePorts(service, {slice});
  ASSERT_EQ(ports.size(), 2U);
  EXPECT_THAT(ports[0].endpoints, ElementsAre(TcpAddress{"127.32.0.1", 5000}));
  EXPECT_THAT(ports[1].endpoints, IsEmpty());
}

int PortOf(int fd) {
  sockaddr_in address{};
  socklen_t size = sizeof(address);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

std::string ReadAll(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t got = 0; (got = recv(fd, buffer, sizeof(buffer), 0)) > 0;) text.append(buffer, got);
  return text;
}

class TcpForwarderTest : public testing::Test {
 protected:
  TcpForwarderTest() : server_(*ListenTcp({"127.0.0.1", 0})) {
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair_), 0);
    fcntl(pair_[1], F_SETFL, O_NONBLOCK);
  }
  ~TcpForwarderTest() override {
    thread_.loop().Call([this] { forwarder_.reset(); });
    close(pair_[0]);
    close(server_);
  }

  // Forwards pair_[1]; the test speaks on pair_[0].
  void Forward(std::vector<TcpAddress> targets) {
    thread_.loop().Call([&] {
      forwarder_ =
          std::make_unique<TcpForwarder>(thread_.loop(), pair_[1], std::move(targets), [this] {
            thread_.loop().Post([this] {
              forwarder_.reset();
              done_.Notify();
            });
          });
      forwarder_->Start();
    });
  }
  int Accept() {
    pollfd ready{server_, POLLIN, 0};
    poll(&ready, 1, -1);
    return accept(server_, nullptr, nullptr);
  }

  int pair_[2];
  int server_;
  absl::Notification done_;
  std::unique_ptr<TcpForwarder> forwarder_;
  EventLoopThread thread_{"test"};
};

TEST_F(TcpForwarderTest, EndOfOneDirectionLeavesTheOtherOpen) {
  Forward({{"127.0.0.1", PortOf(server_)}});
  const int accepted = Accept();
  ASSERT_EQ(send(pair_[0], "question", 8, 0), 8);
  shutdown(pair_[0], SHUT_WR);
  EXPECT_EQ(ReadAll(accepted), "question");
  ASSERT_EQ(send(accepted, "answer", 6, 0), 6);
  close(accepted);
  EXPECT_EQ(ReadAll(pair_[0]), "answer");
  done_.WaitForNotification();
}

TEST_F(TcpForwarderTest, NextTargetIsTriedWhenOneRefuses) {
  const int gone = *ListenTcp({"127.0.0.1", 0});
  const int gone_port = PortOf(gone);
  close(gone);
  Forward({{"127.0.0.1", gone_port}, {"127.0.0.1", PortOf(server_)}});
  const int accepted = Accept();
  close(accepted);
  EXPECT_EQ(ReadAll(pair_[0]), "");
}

TEST_F(TcpForwarderTest, ClientIsClosedWhenNobodyTakesIt) {
  Forward({});
  EXPECT_EQ(ReadAll(pair_[0]), "");
  done_.WaitForNotification();
}

TEST_F(TcpForwarderTest, MuchDataArrivesWhole) {
  Forward({{"127.0.0.1", PortOf(server_)}});
  const int accepted = Accept();
  const std::string much(8 << 20, 'x');
  std::jthread sender([&] {
    for (size_t sent = 0; sent < much.size();) {
      const ssize_t now = send(pair_[0], much.data() + sent, much.size() - sent, 0);
      ASSERT_GT(now, 0);
      sent += now;
    }
    shutdown(pair_[0], SHUT_WR);
  });
  EXPECT_EQ(ReadAll(accepted), much);
  close(accepted);
}

}  // namespace
}  // namespace local_cluster

#include "local-cluster/runner/probe.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/str_format.h"

#include "local-cluster/runner/http2_health.h"
#include "local-cluster/runner/process.h"

namespace local_cluster {
namespace {

using Done = std::function<void(const ProbeResult&)>;

constexpr size_t kResponseBytesMax = 10 << 10;

// What is said over the connection: sends `request`, then shows each piece that arrives.
struct Conversation {
  std::string request;
  // A result ends the probe. `reply` is sent. An empty piece is the end of the stream.
  std::function<std::optional<ProbeResult>(std::string_view piece, std::string& reply)> on_data;
};

class TcpProbe final : public ProbeRun {
 public:
  TcpProbe(EventLoop& loop, const std::string& host, int port, absl::Duration timeout,
           Conversation conversation, Done done)
      : loop_(loop),
        where_(absl::StrFormat("%s:%d", host, port)),
        conversation_(std::move(conversation)),
        done_(std::move(done)) {
    timer_ = loop_.After(timeout, [this] {
      Finish({false, absl::StrFormat("%s: context deadline exceeded", where_)});
    });
    Connect(host, port);
  }

  ~TcpProbe() override {
    loop_.Cancel(timer_);
    Close();
  }

 private:
  void Connect(const std::string& host, int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    const char* numeric = host == "localhost" ? "127.0.0.1" : host.c_str();
    if (inet_pton(AF_INET, numeric, &address.sin_addr) != 1) {
      return FinishLater({false, absl::StrFormat("lookup %s: no such host", host)});
    }
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd_ < 0) return FinishLater({false, strerror(errno)});
    if (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 &&
        errno != EINPROGRESS) {
      return FinishLater(
          {false, absl::StrFormat("dial tcp %s: connect: %s", where_, strerror(errno))});
    }
    loop_.Watch(fd_, EPOLLOUT, [this](uint32_t) { OnConnected(); });
  }

  void OnConnected() {
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
      return Finish({false, absl::StrFormat("dial tcp %s: connect: %s", where_, strerror(error))});
    }
    if (conversation_.request.empty()) return Finish({true, ""});
    // A request is far smaller than a fresh socket's buffer.
    if (send(fd_, conversation_.request.data(), conversation_.request.size(), MSG_NOSIGNAL) < 0) {
      return Finish({false, absl::StrFormat("write %s: %s", where_, strerror(errno))});
    }
    loop_.Watch(fd_, EPOLLIN, [this](uint32_t) { OnReadable(); });
  }

  void OnReadable() {
    std::array<char, 4096> buffer{};
    const ssize_t got = recv(fd_, buffer.data(), buffer.size(), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got < 0) return Finish({false, absl::StrFormat("read %s: %s", where_, strerror(errno))});
    std::string reply;
    const auto result = conversation_.on_data(std::string_view(buffer.data(), got), reply);
    if (result) return Finish(*result);
    if (got == 0) return Finish({false, absl::StrFormat("read %s: EOF", where_)});
    if (!reply.empty()) {
      [[maybe_unused]] const ssize_t sent = send(fd_, reply.data(), reply.size(), MSG_NOSIGNAL);
    }
  }

  void FinishLater(const ProbeResult& result) {
    loop_.Cancel(timer_);
    timer_ = loop_.After(absl::ZeroDuration(), [this, result] { Finish(result); });
  }

  void Finish(const ProbeResult& result) {
    loop_.Cancel(timer_);
    Close();
    const Done done = std::move(done_);  // It may destroy this object.
    done(result);
  }

  void Close() {
    if (fd_ < 0) return;
    loop_.Unwatch(fd_);
    close(fd_);
    fd_ = -1;
  }

  EventLoop& loop_;
  const std::string where_;
  Conversation conversation_;
  Done done_;
  EventLoop::TimerId timer_ = 0;
  int fd_ = -1;
};

class ExecProbe final : public ProbeRun {
 public:
  ExecProbe(EventLoop& loop, absl::Duration timeout, const ExecContext& exec, Done done)
      : loop_(loop), done_(std::move(done)) {
    timer_ = loop_.After(timeout, [this] { Finish({false, "command timed out"}); });
    Start(exec);
  }

  ~ExecProbe() override { loop_.Cancel(timer_); }

 private:
  void Start(const ExecContext& exec) {
    if (exec.command.empty()) return FailLater("executable file not found in $PATH");
    Process::Callbacks callbacks;
    callbacks.failed = [this](const absl::Status& status) {
      Finish({false, std::string(status.message())});
    };
    callbacks.exited = [this](const ProcessExit& exit) {
      Finish({exit.exit_code == 0, absl::StrFormat("command exited with code %d", exit.exit_code)});
    };
    auto process = Process::Start(loop_,
                                  {.keeper = exec.keeper,
                                   .program = exec.command[0],
                                   .arguments = {exec.command.begin() + 1, exec.command.end()},
                                   .environment = exec.environment,
                                   .folder = exec.folder},
                                  callbacks);
    if (!process.ok()) return FailLater(std::string(process.status().message()));
    process_ = std::move(*process);
  }

  void FailLater(const std::string& message) {
    loop_.Cancel(timer_);
    timer_ = loop_.After(absl::ZeroDuration(), [this, message] { Finish({false, message}); });
  }

  void Finish(const ProbeResult& result) {
    loop_.Cancel(timer_);
    const Done done = std::move(done_);
    done(result);
  }

  EventLoop& loop_;
  Done done_;
  EventLoop::TimerId timer_ = 0;
  std::unique_ptr<Process> process_;
};

class SleepAction final : public ProbeRun {
 public:
  SleepAction(EventLoop& loop, absl::Duration sleep, Done done) : loop_(loop) {
    timer_ = loop_.After(sleep, [done = std::move(done)] { done({true, ""}); });
  }
  ~SleepAction() override { loop_.Cancel(timer_); }

 private:
  EventLoop& loop_;
  EventLoop::TimerId timer_ = 0;
};

Conversation HttpGet(const ActionSpec& action, const std::string& host) {
  Conversation conversation;
  std::string headers;
  bool has_host = false;
  bool has_agent = false;
  for (const auto& [name, value] : action.headers) {
    headers += absl::StrFormat("%s: %s\r\n", name, value);
    has_host |= strcasecmp(name.c_str(), "host") == 0;
    has_agent |= strcasecmp(name.c_str(), "user-agent") == 0;
  }
  if (!has_host) headers += absl::StrFormat("Host: %s:%d\r\n", host, action.port);
  if (!has_agent) headers += "User-Agent: kube-probe/1.33\r\n";
  const std::string path = action.path.starts_with('/') ? action.path : "/" + action.path;
  conversation.request = absl::StrFormat(
      "GET %s HTTP/1.1\r\n%sAccept: */*\r\nConnection: close\r\n\r\n", path, headers);
  conversation.on_data = [received = std::string()](
                             std::string_view piece,
                             std::string&) mutable -> std::optional<ProbeResult> {
    received += piece;
    const size_t end = received.find("\r\n");
    if (end == std::string::npos) {
      if (received.size() > kResponseBytesMax) return ProbeResult{false, "malformed HTTP response"};
      return std::nullopt;
    }
    if (!received.starts_with("HTTP/1.") || received.size() < 12) {
      return ProbeResult{false, "malformed HTTP response"};
    }
    const int code = atoi(received.c_str() + 9);
    if (code >= 200 && code < 400) return ProbeResult{true, ""};
    return ProbeResult{false, absl::StrFormat("HTTP probe failed with statuscode: %d", code)};
  };
  return conversation;
}

Conversation GrpcCheck(const ActionSpec& action, const std::string& host) {
  Conversation conversation;
  conversation.request =
      HealthCheckRequest(absl::StrFormat("%s:%d", host, action.port), action.service);
  conversation.on_data = [reader = std::make_shared<HealthCheckReader>()](
                             std::string_view piece,
                             std::string& reply) -> std::optional<ProbeResult> {
    switch (reader->Feed(piece, reply)) {
      case HealthCheckReader::Result::kPending:
        return std::nullopt;
      case HealthCheckReader::Result::kServing:
        return ProbeResult{true, ""};
      case HealthCheckReader::Result::kNotServing:
        return ProbeResult{false, "service unhealthy (responded with \"NOT_SERVING\")"};
      case HealthCheckReader::Result::kFailed:
        break;
    }
    return ProbeResult{false, "error: health rpc failed"};
  };
  return conversation;
}

}  // namespace

std::unique_ptr<ProbeRun> StartProbe(EventLoop& loop, const ActionSpec& action,
                                     const std::string& address, absl::Duration timeout,
                                     const ExecContext& exec,
                                     std::function<void(const ProbeResult&)> done) {
  const std::string host = action.host.empty() ? address : action.host;
  switch (action.kind) {
    case ActionSpec::Kind::kHttpGet:
      // TLS is not checked by kubelet either; here an open port has to do for it.
      return std::make_unique<TcpProbe>(
          loop, host, action.port, timeout,
          action.scheme == "HTTPS" ? Conversation{} : HttpGet(action, host), std::move(done));
    case ActionSpec::Kind::kTcpSocket:
      return std::make_unique<TcpProbe>(loop, host, action.port, timeout, Conversation{},
                                        std::move(done));
    case ActionSpec::Kind::kGrpc:
      return std::make_unique<TcpProbe>(loop, address, action.port, timeout,
                                        GrpcCheck(action, address), std::move(done));
    case ActionSpec::Kind::kExec:
      return std::make_unique<ExecProbe>(loop, timeout, exec, std::move(done));
    case ActionSpec::Kind::kSleep:
      return std::make_unique<SleepAction>(loop, action.sleep, std::move(done));
  }
  return nullptr;
}

}  // namespace local_cluster

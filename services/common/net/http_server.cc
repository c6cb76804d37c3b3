#include "common/net/http_server.h"

#include <unordered_map>
#include <utility>

#include <arpa/inet.h>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

#include "common/base/bounded_queue.h"
#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/base/thread.h"
#include "common/net/http_connection.h"
#include "common/net/listener.h"

namespace net {
namespace asio = boost::asio;
using boost::system::error_code;

namespace {

using Acceptor = asio::basic_socket_acceptor<asio::generic::stream_protocol>;

// After running out of descriptors: time for some to come back.
constexpr std::chrono::milliseconds kAcceptPause(100);

std::string DescribePeer(int fd) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  char text[INET6_ADDRSTRLEN] = "";
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "unknown";
  if (address.ss_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address);
    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
    return absl::StrFormat("%s:%d", text, ntohs(v4->sin_port));
  }
  if (address.ss_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address);
    inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
    return absl::StrFormat("[%s]:%d", text, ntohs(v6->sin6_port));
  }
  return "unix";
}

// An I/O thread and its connections, which only it touches.
struct Loop {
  std::shared_ptr<asio::io_context> io = std::make_shared<asio::io_context>(1);
  asio::executor_work_guard<asio::io_context::executor_type> keep_running{io->get_executor()};
  std::unordered_map<HttpConnection*, std::shared_ptr<HttpConnection>> connections;
  std::jthread thread;

  template <typename Visit>
  void ForAll(Visit visit) {
    std::vector<std::shared_ptr<HttpConnection>> all;
    for (const auto& [key, connection] : connections) all.push_back(connection);
    for (const auto& connection : all) visit(*connection);
  }
};

}  // namespace

struct HttpServer::Impl {
  std::shared_ptr<ServerShared> shared = std::make_shared<ServerShared>();
  std::vector<std::unique_ptr<Loop>> loops;  // The first one also accepts.
  std::optional<Acceptor> acceptor;
  std::optional<asio::steady_timer> accept_pause;
  size_t next_loop = 0;
  int port = 0;
  absl::Mutex mutex;
  TlsContext tls ABSL_GUARDED_BY(mutex);

  std::optional<base::BoundedQueue<std::shared_ptr<Exchange>>> exchanges;
  std::vector<std::jthread> handler_threads;

  void Accept();
  void Serve(Loop& loop, StreamSocket socket);
  void StartThreads();
};

void HttpServer::Impl::Accept() {
  Loop& loop = *loops[next_loop++ % loops.size()];
  acceptor->async_accept(*loop.io, [this, &loop](const error_code& error, StreamSocket socket) {
    if (!shared->accepting || error == asio::error::operation_aborted) return;
    if (error) {
      // Mostly EMFILE: accepting again at once would spin.
      accept_pause->expires_after(kAcceptPause);
      accept_pause->async_wait([this](const error_code& stopped) {
        if (!stopped && shared->accepting) Accept();
      });
      return;
    }
    asio::post(*loop.io, [this, &loop, socket = std::move(socket)]() mutable {
      Serve(loop, std::move(socket));
    });
    Accept();
  });
}

void HttpServer::Impl::Serve(Loop& loop, StreamSocket socket) {
  if (!shared->accepting) return;
  const int fd = socket.native_handle();
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  TlsContext context;
  {
    absl::MutexLock lock(&mutex);
    context = tls;
  }
  const auto connection = std::make_shared<HttpConnection>(
      shared, loop.io, std::move(socket), DescribePeer(fd), std::move(context),
      [&loop](HttpConnection* gone) { loop.connections.erase(gone); });
  loop.connections.emplace(connection.get(), connection);
  if (++shared->connections_open > shared->options.connections_max) {
    connection->Refuse();
  } else {
    connection->Start();
  }
}

void HttpServer::Impl::StartThreads() {
  const HttpServerOptions& options = shared->options;
  for (int i = 0; i < options.handler_threads; ++i) {
    handler_threads.push_back(base::StartThread("http-handler", [this](std::stop_token) {
      while (auto exchange = exchanges->Pop()) shared->handler(*std::move(exchange));
    }));
  }
  for (const auto& loop : loops) {
    loop->thread = base::StartThread("http-io", [io = loop->io](std::stop_token) { io->run(); });
  }
}

HttpServer::HttpServer() : impl_(std::make_unique<Impl>()) {}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(HttpServerOptions options,
                                                              Handler handler) {
  CHECK(options.io_threads >= 1 && options.handler_threads >= 0);
  std::unique_ptr<HttpServer> server(new HttpServer());
  Impl& impl = *server->impl_;
  if (!options.certificate_pem.empty()) {
    absl::MutexLock lock(&impl.mutex);
    ASSIGN_OR_RETURN(impl.tls, MakeServerTls(options.certificate_pem, options.private_key_pem,
                                             options.client_ca_pem));
  }
  int listener = -1;
  int family = AF_UNIX;
  if (options.unix_socket.empty()) {
    ASSIGN_OR_RETURN(listener,
                     ListenTcp(options.bind_address, options.port, options.reuse_address));
    impl.port = PortOf(listener);
    family = options.bind_address.find(':') == std::string::npos ? AF_INET : AF_INET6;
  } else {
    ASSIGN_OR_RETURN(listener, ListenUnix(options.unix_socket));
  }
  ServerShared& shared = *impl.shared;
  shared.options = std::move(options);
  shared.handler = std::move(handler);
  if (shared.options.handler_threads == 0) {
    shared.dispatch = [&shared](std::shared_ptr<Exchange> exchange) {
      shared.handler(std::move(exchange));
    };
  } else {
    // A connection has one exchange at most, so that the queue is never full.
    impl.exchanges.emplace(static_cast<size_t>(shared.options.connections_max));
    shared.dispatch = [&impl](std::shared_ptr<Exchange> exchange) {
      impl.exchanges->TryPush(std::move(exchange));
    };
  }
  for (int i = 0; i < shared.options.io_threads; ++i) {
    impl.loops.push_back(std::make_unique<Loop>());
  }
  asio::io_context& first = *impl.loops[0]->io;
  impl.acceptor.emplace(first, asio::generic::stream_protocol(family, 0), listener);
  impl.accept_pause.emplace(first);
  impl.Accept();
  impl.StartThreads();
  return server;
}

HttpServer::~HttpServer() {
  if (impl_->loops.empty()) return;  // Start() failed.
  StopAccepting();
  // Close all, then let each thread run dry: every handler of asio runs, so nothing is leaked.
  for (const auto& loop : impl_->loops) {
    asio::post(*loop->io, [&loop = *loop] {
      loop.ForAll([](HttpConnection& connection) { connection.Close(); });
      loop.keep_running.reset();
    });
  }
  for (const auto& loop : impl_->loops) loop->thread.join();
  if (impl_->exchanges) impl_->exchanges->Close();
  impl_->handler_threads.clear();
  if (!impl_->shared->options.unix_socket.empty()) {
    unlink(impl_->shared->options.unix_socket.c_str());
  }
}

int HttpServer::port() const { return impl_->port; }

void HttpServer::StopAccepting() {
  if (!impl_->shared->accepting.exchange(false)) return;
  asio::post(*impl_->loops[0]->io, [this] {
    error_code ignored;
    impl_->acceptor->close(ignored);
    impl_->accept_pause->cancel();
  });
  for (const auto& loop : impl_->loops) {
    asio::post(*loop->io, [&loop = *loop] {
      loop.ForAll([](HttpConnection& connection) { connection.CloseIfIdle(); });
    });
  }
}

int HttpServer::exchanges_open() const { return impl_->shared->exchanges_open; }

absl::Status HttpServer::SetCertificate(const std::string& certificate_pem,
                                        const std::string& private_key_pem) {
  ASSIGN_OR_RETURN(TlsContext context, MakeServerTls(certificate_pem, private_key_pem,
                                                     impl_->shared->options.client_ca_pem));
  absl::MutexLock lock(&impl_->mutex);
  impl_->tls = std::move(context);
  return absl::OkStatus();
}

}  // namespace net

#include "model-server/rpc/admin_service.h"

#include <atomic>
#include <functional>
#include <utility>

#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"

#include "kaito/inference/v1/inference.grpc.pb.h"
#include "model-server/rpc/call_status.h"
#include "model-server/rpc/convert.h"
#include "model-server/rpc/ticker.h"

namespace model_server {
namespace {

namespace pb = kaito::inference::v1;

// Writes a message now, after each change of the server's state, and at least every `interval`.
template <typename Message>
class TickingStream final : public grpc::ServerWriteReactor<Message>, public Ticked {
 public:
  using Make = std::function<bool(Message&)>;  // False: this message is the last.

  TickingStream(Ticker& ticker, absl::Duration interval, Make make)
      : ticker_(ticker), interval_(interval), make_(std::move(make)) {}

  void OnWriteDone(bool ok) override {
    if (!ok) cancelled_ = true;
    writing_ = false;
    ticker_.Wake(false);
  }
  void OnCancel() override {
    cancelled_ = true;
    ticker_.Wake(false);
  }
  void OnDone() override {
    done_ = true;
    ticker_.Wake(false);
  }

  bool Work(absl::Time now, bool changed) override {
    if (done_) return false;
    missed_ = missed_ || changed;
    if (finishing_ || writing_) return true;
    if (last_ || cancelled_) {
      finishing_ = true;
      this->Finish(grpc::Status::OK);
    } else if (missed_ || now - written_ >= interval_) {
      missed_ = false;
      written_ = now;
      message_.Clear();
      last_ = !make_(message_);
      writing_ = true;
      this->StartWrite(&message_);
    }
    return true;
  }

 private:
  Ticker& ticker_;
  const absl::Duration interval_;
  const Make make_;
  std::atomic<bool> writing_ = false;
  std::atomic<bool> cancelled_ = false;
  std::atomic<bool> done_ = false;
  // The ticker's thread alone:
  Message message_;
  absl::Time written_ = absl::InfinitePast();
  bool missed_ = false;
  bool last_ = false;
  bool finishing_ = false;
};

// A stream that only says no.
template <typename Message>
class RefusingStream final : public grpc::ServerWriteReactor<Message> {
 public:
  explicit RefusingStream(const grpc::Status& status) { this->Finish(status); }
  void OnDone() override { delete this; }
};

absl::Status NotLoaded() {
  return absl::FailedPreconditionError("the model's headers have not been read yet");
}

void WriteModelInfo(const Backend& backend, pb::ModelInfo& out) {
  for (const std::string& name : backend.served_names) out.add_served_names(name);
  const ModelFacts& facts = backend.facts;
  out.set_architecture(facts.architecture);
  out.set_parameters(facts.parameters);
  out.set_dtype(facts.dtype);
  out.set_quantization(facts.quantization);
  out.set_weights_digest(facts.weights_digest);
  out.set_context_tokens_max(backend.engine->context_tokens_max());
  out.set_vocabulary(facts.vocabulary);
  out.set_has_chat_template(backend.prompts->has_chat_template());
  out.set_template_takes_tools(backend.prompts->template_takes_tools());
  out.set_created(absl::ToUnixSeconds(backend.created));
  out.set_device(facts.device);
}

void WriteServerFacts(const Backend& backend, const std::string& version, pb::ServerFacts& out) {
  out.set_version(version);
  pb::Device& device = *out.add_devices();
  device.set_kind(backend.facts.device);
  device.set_name(backend.facts.device);
  device.set_isa(backend.facts.isa);
  device.set_cores(std::thread::hardware_concurrency());
  for (const auto& [owner, bytes] : backend.memory) {
    pb::MemoryUse& use = *out.add_memory();
    use.set_owner(owner);
    use.set_bytes(bytes);
  }
  const EngineOptions& options = backend.engine->options();
  out.set_kv_blocks_total(options.kv_blocks);
  out.set_kv_block_tokens(backend.facts.kv_block_tokens);
  out.set_sequences_max(options.sequences_max);
  out.set_queue_max(options.queue_max);
  for (const auto& [name, taken] : backend.startup) {
    pb::StartupPhase& phase = *out.add_startup();
    phase.set_name(name);
    phase.set_seconds(absl::ToDoubleSeconds(taken));
  }
}

}  // namespace

struct AdminService::Impl final : pb::ModelAdmin::CallbackService {
  explicit Impl(ServiceContext& service_context)
      : context(service_context),
        listener(context.state.AddListener([this] { ticker.Wake(true); })) {}
  ~Impl() override { context.state.RemoveListener(listener); }

  grpc::ServerUnaryReactor* Finish(grpc::CallbackServerContext* call, const absl::Status& status) {
    grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
    reactor->Finish(status.ok() ? grpc::Status::OK : FailCall(status, *call));
    return reactor;
  }

  grpc::ServerUnaryReactor* GetModelInfo(grpc::CallbackServerContext* call,
                                         const pb::GetModelInfoRequest* /*request*/,
                                         pb::ModelInfo* response) override {
    const auto backend = context.backend();
    if (backend == nullptr) return Finish(call, NotLoaded());
    WriteModelInfo(*backend, *response);
    return Finish(call, absl::OkStatus());
  }

  grpc::ServerUnaryReactor* GetServerFacts(grpc::CallbackServerContext* call,
                                           const pb::GetServerFactsRequest* /*request*/,
                                           pb::ServerFacts* response) override {
    const auto backend = context.backend();
    if (backend == nullptr) return Finish(call, NotLoaded());
    WriteServerFacts(*backend, context.version, *response);
    return Finish(call, absl::OkStatus());
  }

  grpc::ServerUnaryReactor* Abort(grpc::CallbackServerContext* call,
                                  const pb::AbortRequest* request,
                                  pb::AbortResponse* response) override {
    const auto backend = context.backend();
    response->set_found(backend != nullptr && backend->engine->Abort(request->request_id()));
    return Finish(call, absl::OkStatus());
  }

  grpc::ServerWriteReactor<pb::ServerState>* WatchState(
      grpc::CallbackServerContext* /*call*/, const pb::WatchStateRequest* /*request*/) override {
    return Begin<pb::ServerState>(absl::Seconds(5), [this](pb::ServerState& out) {
      out = WriteState(context.state.Get());
      if (const auto backend = context.backend()) {
        out.set_requests_running(backend->engine->requests_running());
        out.set_requests_waiting(backend->engine->requests_waiting());
      }
      return out.state() != pb::ServerState::STATE_STOPPED;
    });
  }

  grpc::ServerWriteReactor<pb::DrainProgress>* Drain(grpc::CallbackServerContext* /*call*/,
                                                     const pb::DrainRequest* request) override {
    DrainTimes times = context.drain_default;
    if (request->has_grace_seconds()) times.grace = absl::Seconds(request->grace_seconds());
    if (request->has_timeout_seconds()) times.timeout = absl::Seconds(request->timeout_seconds());
    context.begin_drain(times);
    return Begin<pb::DrainProgress>(absl::Seconds(1), [this](pb::DrainProgress& out) {
      const auto backend = context.backend();
      if (backend != nullptr) {
        out.set_requests_running(backend->engine->requests_running());
        out.set_requests_waiting(backend->engine->requests_waiting());
      }
      out.set_done(context.state.state() == State::kStopped);
      return !out.done();
    });
  }

  template <typename Message>
  grpc::ServerWriteReactor<Message>* Begin(absl::Duration interval,
                                           typename TickingStream<Message>::Make make) {
    auto stream = std::make_shared<TickingStream<Message>>(ticker, interval, std::move(make));
    if (ticker.Add(stream)) return stream.get();
    return new RefusingStream<Message>(
        grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "too many watchers"));
  }

  ServiceContext& context;
  Ticker ticker;
  const int listener;
};

AdminService::AdminService(ServiceContext& context) : impl_(std::make_unique<Impl>(context)) {}

AdminService::~AdminService() = default;

grpc::Service* AdminService::service() { return impl_.get(); }

}  // namespace model_server

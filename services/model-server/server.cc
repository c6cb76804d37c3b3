#include "model-server/server.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>

#include <unistd.h>

#include "absl/strings/str_format.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/signals.h"
#include "common/base/status_macros.h"
#include "common/llm/gguf.h"
#include "common/llm/text_files.h"
#include "common/metrics/metrics.h"
#include "common/net/digest.h"
#include "common/net/grpc_server.h"
#include "model-server/engine/engine.h"
#include "model-server/engine/engine_metrics.h"
#include "model-server/model/load.h"
#include "model-server/ops/ops_server.h"
#include "model-server/rpc/admin_service.h"
#include "model-server/rpc/inference_service.h"

namespace model_server {
namespace {

constexpr int kDoesNotFit = 3;
constexpr int kBadModel = 4;
constexpr int kInternalError = 70;
constexpr int kStalledForGood = 71;

constexpr absl::Duration kStallMin = absl::Seconds(30);
constexpr absl::Duration kStallMax = absl::Seconds(10);  // In state STALLED, then the process ends.

int ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kResourceExhausted:
      return kDoesNotFit;
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kFailedPrecondition:
      return kBadModel;
    default:
      return kInternalError;
  }
}

// Everything that loading makes, in the order in which it depends on each other.
struct Loaded {
  std::unique_ptr<llm::Tokenizer> tokenizer;
  std::unique_ptr<llm::ChatTemplate> chat_template;
  std::unique_ptr<PromptBuilder> prompts;
  std::unique_ptr<Model> model;
  std::unique_ptr<EngineMetrics> metrics;
  std::unique_ptr<Engine> engine;
};

// How many blocks the cache gets: asked for, or eight full contexts within a quarter of the memory
// that is free.
int CacheBlocks(const ServerOptions& options, const ModelFacts& facts) {
  if (options.kv_blocks > 0) return options.kv_blocks;
  const uint64_t block_bytes = std::max<uint64_t>(
      1, facts.kv_bytes_per_token * static_cast<uint64_t>(facts.kv_block_tokens));
  const uint64_t bytes = options.kv_cache_bytes > 0 ? static_cast<uint64_t>(options.kv_cache_bytes)
                                                    : AvailableMemoryBytes() / 4;
  uint64_t blocks = bytes / block_bytes;
  if (options.kv_cache_bytes <= 0) {
    const uint64_t context_blocks =
        static_cast<uint64_t>(facts.context_tokens_max) / facts.kv_block_tokens + 1;
    blocks = std::min(blocks, 8 * context_blocks);
  }
  return static_cast<int>(std::clamp<uint64_t>(blocks, 1, 1 << 24));
}

// One server. Serve() is its only user; the main thread owns it.
class ModelServer {
 public:
  explicit ModelServer(const ServerOptions& options)
      : options_(options), registry_(options.version), state_(clock_), context_(state_, clock_) {
    context_.version = options.version;
    context_.deadline_default = options.request_deadline_default;
    context_.drain_default = options.drain;
    drain_ = options.drain;
    context_.begin_drain = [this](const DrainTimes& times) {
      drain_ = times;
      base::RequestStop();
    };
  }

  int Run() {
    if (absl::Status status = StartPorts(); !status.ok()) return Fail(status, kInternalError);
    state_.Set(State::kLoading, "the model is being loaded");
    const absl::Status loaded = Load();
    if (!loaded.ok()) return Fail(loaded, ExitCodeOf(loaded));
    grpc_->SetServing(true);
    state_.Set(State::kServing, "requests are served");
    base::LogInfo("serving", {{"model", context_.backend()->served_names[0]},
                              {"device", loaded_.model->facts().device},
                              {"isa", loaded_.model->facts().isa},
                              {"seconds", absl::ToDoubleSeconds(clock_.Monotonic() - begin_)}});
    if (const int code = WatchUntilStopped(); code != 0) return code;
    Drain();
    return 0;
  }

 private:
  int Fail(const absl::Status& status, int code) {
    base::LogError("the model server ends",
                   {{"error", std::string(status.message())}, {"exit_code", code}});
    return code;
  }

  // Health, metrics and the refusals of gRPC are there before the model is.
  absl::Status StartPorts() {
    ASSIGN_OR_RETURN(ops_, OpsServer::Start(
                               {.bind_address = options_.bind_address, .port = options_.ops_port},
                               state_, registry_, [this] { return Alive(); }, [] {}));
    inference_ = std::make_unique<InferenceService>(context_, 1);
    admin_ = std::make_unique<AdminService>(context_);
    net::GrpcServerOptions grpc;
    grpc.addresses = {absl::StrFormat("%s:%d", options_.bind_address, options_.grpc_port)};
    if (!options_.grpc_socket.empty()) grpc.addresses.push_back("unix:" + options_.grpc_socket);
    grpc.reflection = options_.reflection || options_.bind_address.rfind("127.", 0) == 0;
    ASSIGN_OR_RETURN(grpc_,
                     net::GrpcServer::Start(grpc, {inference_->service(), admin_->service()}));
    grpc_->SetServing("liveness", true);
    base::LogInfo("listening", {{"address", options_.bind_address},
                                {"grpc_port", grpc_->ports()[0]},
                                {"ops_port", ops_->port()}});
    return absl::OkStatus();
  }

  absl::Status Load() {
    ASSIGN_OR_RETURN(const std::string path, FindModelFile(options_.model));
    ASSIGN_OR_RETURN(const std::unique_ptr<llm::GgufFile> file, llm::GgufFile::Open(path));
    ASSIGN_OR_RETURN(loaded_.tokenizer, llm::LoadTokenizer(*file));
    ASSIGN_OR_RETURN(loaded_.chat_template, llm::LoadChatTemplate(*file));
    Phase("tokenizer");

    LoadOptions load;
    load.isa = options_.isa;
    load.threads = options_.threads;
    load.max_model_len = options_.max_model_len;
    load.step_sequences_max = std::max(options_.sequences_max, 1);
    load.progress = [this](uint64_t bytes, uint64_t total) { state_.SetProgress(bytes, total); };
    ASSIGN_OR_RETURN(loaded_.model, LoadModel(path, load));
    Phase("read");
    state_.Set(State::kWarming, "the first step is being computed");
    return StartEngine(path);
  }

  absl::Status StartEngine(const std::string& path) {
    const ModelFacts& facts = loaded_.model->facts();
    std::vector<std::string> names = options_.served_names;
    if (names.empty()) names.push_back(std::filesystem::path(path).stem().string());
    loaded_.metrics =
        std::make_unique<EngineMetrics>(registry_, names[0], options_.metrics_alias == "vllm");
    EngineOptions engine;
    engine.kv_blocks = CacheBlocks(options_, facts);
    engine.sequences_max = options_.sequences_max;
    engine.queue_max = options_.queue_max;
    engine.step_tokens_max = facts.step_tokens_max;
    engine.end_tokens = loaded_.tokenizer->end_tokens();
    engine.tokens_used = std::min(loaded_.tokenizer->size(), facts.vocabulary);
    ASSIGN_OR_RETURN(loaded_.engine,
                     Engine::Start(*loaded_.model, engine, clock_, *loaded_.metrics));
    Phase("allocate");
    loaded_.prompts =
        std::make_unique<PromptBuilder>(*loaded_.tokenizer, loaded_.chat_template.get(), clock_);
    auto backend = std::make_shared<Backend>();
    backend->served_names = std::move(names);
    backend->fingerprint =
        "fp_" + net::Sha256Hex(facts.weights_digest + options_.version + facts.isa).substr(0, 10);
    backend->created = clock_.Now();
    backend->facts = facts;
    backend->tokenizer = loaded_.tokenizer.get();
    backend->prompts = loaded_.prompts.get();
    backend->engine = loaded_.engine.get();
    backend->memory = {{"weights", facts.weight_bytes},
                       {"kv_cache", static_cast<uint64_t>(engine.kv_blocks) *
                                        facts.kv_block_tokens * facts.kv_bytes_per_token}};
    backend->startup = phases_;
    context_.set_backend(std::move(backend));
    return absl::OkStatus();
  }

  void Phase(const std::string& name) {
    const absl::Duration now = clock_.Monotonic();
    phases_.emplace_back(name, now - phase_begin_);
    registry_
        .GetGauge("model_server_startup_phase_seconds", "Time of each phase of the start.",
                  {{"phase", name}})
        .Set(absl::ToDoubleSeconds(now - phase_begin_));
    phase_begin_ = now;
  }

  // How long a step may take before the engine counts as stalled.
  absl::Duration StallLimit() const {
    return std::max(kStallMin, 20 * loaded_.engine->predicted_step());
  }

  bool Alive() {
    if (state_.state() < State::kServing) return true;
    const std::shared_ptr<const Backend> backend = context_.backend();
    return backend == nullptr || backend->engine->since_progress() < StallLimit() + kStallMax;
  }

  // 0 once a signal has come; kStalledForGood when the engine no longer makes progress.
  int WatchUntilStopped() {
    while (base::WaitForStopSignal(absl::Seconds(1)) == 0) {
      const absl::Duration since = loaded_.engine->since_progress();
      const bool stalled = since >= StallLimit();
      if (stalled && state_.state() == State::kServing) {
        state_.Set(State::kStalled, "a step of the engine does not end");
        grpc_->SetServing(false);
        base::LogError("engine stalled", {{"since", since}});
      } else if (!stalled && state_.state() == State::kStalled) {
        state_.Set(State::kServing, "requests are served");
        grpc_->SetServing(true);
      }
      if (since >= StallLimit() + kStallMax) {
        grpc_->SetServing("liveness", false);
        base::LogError("the model server ends", {{"error", "engine stalled"}});
        _exit(kStalledForGood);  // Its thread cannot be joined.
      }
    }
    return 0;
  }

  int OpenRequests() const {
    return loaded_.engine->requests_running() + loaded_.engine->requests_waiting();
  }

  // Waits for running requests; a second signal ends them.
  void Drain() {
    const DrainTimes times = drain_;
    base::LogInfo("draining", {{"requests", OpenRequests()}, {"grace", times.grace}});
    state_.Set(State::kDraining, "the server is shutting down");
    grpc_->SetServing(false);
    const absl::Duration begin = clock_.Monotonic();
    auto elapsed = [&] { return clock_.Monotonic() - begin; };
    bool again = false;
    while (!again && elapsed() < times.grace) {
      again = base::WaitForStopSignal(absl::Milliseconds(50)) != 0;
    }
    context_.admitting = false;
    while (!again && OpenRequests() > 0 && elapsed() < times.grace + times.timeout) {
      again = base::WaitForStopSignal(absl::Milliseconds(50)) != 0;
    }
    loaded_.engine->EndAll(absl::UnavailableError("the server is shutting down"));
    grpc_->Shutdown(absl::Seconds(1));
    state_.Set(State::kStopped, "the server has stopped");
    base::LogInfo("stopped", {{"after", elapsed()}});
  }

  const ServerOptions options_;
  const base::Clock& clock_ = base::RealClock();
  const absl::Duration begin_ = clock_.Monotonic();
  absl::Duration phase_begin_ = begin_;
  std::vector<std::pair<std::string, absl::Duration>> phases_;
  metrics::Registry registry_;
  ServerState state_;
  Loaded loaded_;
  ServiceContext context_;
  DrainTimes drain_;
  std::unique_ptr<InferenceService> inference_;
  std::unique_ptr<AdminService> admin_;
  std::unique_ptr<net::GrpcServer> grpc_;
  std::unique_ptr<OpsServer> ops_;
};

}  // namespace

int Serve(const ServerOptions& options) { return ModelServer(options).Run(); }

}  // namespace model_server

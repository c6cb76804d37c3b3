// The model server as the gateway sees it: its state, and calls that answer by callback.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "kaito/inference/v1/inference.pb.h"
#include "model-server/gateway/api_error.h"

namespace model_server::gateway {

// What arrives between `accepted` and the end, whichever call it was.
struct Piece {
  int index = 0;  // Which answer of the call.
  std::string text;
  std::string reasoning;
  std::optional<kaito::inference::v1::ToolCallDelta> tool_call;
  std::vector<uint32_t> token_ids;
  std::vector<kaito::inference::v1::TokenLogprobs> logprobs;
  std::optional<kaito::inference::v1::Finish> finish;
  std::optional<kaito::inference::v1::Usage> usage;
};

// Appends `next` to `last` where both are plain text of one answer; false if they cannot be one.
bool MergePieces(Piece& last, Piece& next);

// Called on gRPC's threads, one after the other for one call. `done` is the last and always comes.
struct GenerationEvents {
  std::function<void(const kaito::inference::v1::Accepted&)> accepted;
  std::function<bool(Piece)> piece;  // False: no more until Generation::Resume().
  std::function<void(const absl::Status&, const UpstreamErrorDetails&)> done;
};

// One running call. Thread-safe.
class Generation {
 public:
  virtual ~Generation() = default;
  virtual void Cancel() = 0;
  virtual void Resume() = 0;
};

struct CallOptions {
  std::string request_id;
  std::string traceparent;  // Passed on if not empty.
  absl::Duration deadline = absl::Seconds(600);
};

// What WatchState and GetModelInfo said last.
struct UpstreamState {
  bool reachable = false;
  kaito::inference::v1::ServerState server;
  std::optional<kaito::inference::v1::ModelInfo> model;  // Kept when the server goes away.

  bool serving() const;
  // The HTTP `code` while it does not serve: loading, draining, stalled or engine_unavailable.
  std::string_view code() const;
  // 1 to 60.
  int retry_after_seconds() const;
};

// Thread-safe.
class Upstream {
 public:
  using TokenizeDone = std::function<void(const absl::Status&, const UpstreamErrorDetails&,
                                          const kaito::inference::v1::TokenizeResponse&)>;
  using DetokenizeDone = std::function<void(const absl::Status&, const UpstreamErrorDetails&,
                                            const kaito::inference::v1::DetokenizeResponse&)>;

  // `target`: "host:port" or "unix:PATH". Watches the server's state from here on, and connects
  // again whenever it went away.
  explicit Upstream(const std::string& target);
  // Ends the watch and cancels what runs; blocks until the last callback has returned.
  ~Upstream();

  std::shared_ptr<Generation> Generate(kaito::inference::v1::GenerateRequest request,
                                       const CallOptions& options, GenerationEvents events);
  std::shared_ptr<Generation> Chat(kaito::inference::v1::ChatRequest request,
                                   const CallOptions& options, GenerationEvents events);
  void Tokenize(kaito::inference::v1::TokenizeRequest request, const CallOptions& options,
                TokenizeDone done);
  void Detokenize(kaito::inference::v1::DetokenizeRequest request, const CallOptions& options,
                  DetokenizeDone done);

  std::shared_ptr<const UpstreamState> state() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace model_server::gateway

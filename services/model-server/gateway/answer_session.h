// One generated answer: from gRPC calls that stream to an HTTP answer, whole or as events.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "model-server/gateway/renderer.h"
#include "model-server/gateway/request_context.h"
#include "model-server/gateway/ticker.h"
#include "model-server/gateway/upstream.h"

namespace model_server::gateway {

// Runs one call per prompt and joins what they send. The status goes out once all are accepted, so
// that whatever can be refused still is, with a real status. An error after that is an event of its
// own and a cut connection: a stream that was cut never looks finished.
//
// Thread-safe. Kept alive by its calls; a client that leaves cancels them.
class AnswerSession final : public Ticking, public std::enable_shared_from_this<AnswerSession> {
 public:
  // Starts one call; the events are the session's.
  using StartCall = std::function<std::shared_ptr<Generation>(GenerationEvents)>;

  struct Options {
    bool stream = false;
    int choices_per_call = 1;
    std::string answer_id;                        // In the answer; the request's id by default.
    std::function<void(const TotalUsage&)> used;  // Optional: called at a regular end.
  };

  AnswerSession(std::shared_ptr<RequestContext> context, std::unique_ptr<Renderer> renderer,
                Ticker& ticker, Options options);

  void Start(const std::vector<StartCall>& calls);

  // Ends the answer with an error, for a shutdown.
  void Stop(const ApiError& error) override;
  void Tick(absl::Time now) override;
  bool congested() const override;

 private:
  struct Call {
    std::shared_ptr<Generation> generation;
    bool accepted = false;
    bool paused = false;
    uint32_t prompt_tokens = 0;
    std::vector<std::optional<kaito::inference::v1::Usage>> usage;  // Per choice.
  };

  GenerationEvents EventsOf(size_t call);
  void OnAccepted(size_t call, const kaito::inference::v1::Accepted& accepted);
  bool OnPiece(size_t call, Piece piece);
  void OnDone(size_t call, const absl::Status& status, const UpstreamErrorDetails& details);
  void ClientLeft();

  void EmitPending() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Emit(const Piece& piece) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Fail(const ApiError& error) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Complete() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  TotalUsage Total() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<std::shared_ptr<Generation>> Generations() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<RequestContext> context_;
  const std::unique_ptr<Renderer> renderer_;
  Ticker& ticker_;
  const Options options_;

  mutable absl::Mutex mutex_;
  std::vector<Call> calls_ ABSL_GUARDED_BY(mutex_);
  size_t accepted_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t running_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;  // Answered, failed or left.
  AnswerHead head_ ABSL_GUARDED_BY(mutex_);
  std::vector<Choice> choices_ ABSL_GUARDED_BY(mutex_);  // Without streaming.
  std::vector<Piece> pending_ ABSL_GUARDED_BY(mutex_);   // Not yet written events.
  size_t pending_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Time last_write_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace model_server::gateway

#include "workspace-controller/live.h"

#include <thread>
#include <utility>

#include "grpcpp/grpcpp.h"

#include "common/base/bounded_queue.h"
#include "common/base/log.h"
#include "common/base/thread.h"
#include "common/net/grpc_server.h"
#include "kaito/provisioner/v1/provisioner.grpc.pb.h"

namespace workspace_controller {
namespace {

namespace proto = kaito::provisioner::v1;

constexpr size_t kQuestionsMax = 1024;

bool SameAnswer(const std::optional<Advice>& a, const std::optional<Advice>& b) {
  if (!a || !b) return a.has_value() == b.has_value();
  return a->startable == b->startable && a->reason == b->reason && a->message == b->message;
}

Advice ReadAnswer(const proto::PlanResponse& response, int count) {
  Advice advice{.startable = static_cast<int>(response.startable())};
  if (advice.startable < count) {
    advice.reason = response.reason();
    advice.message = response.message();
  }
  if (response.offerings_size() > 0 && response.offerings(0).has_usd_per_hour()) {
    advice.usd_per_hour = response.offerings(0).usd_per_hour();
  }
  return advice;
}

}  // namespace

struct Live::Impl {
  struct Known {
    AdviceQuestion question;
    std::optional<Advice> answer;
    absl::Duration asked_at = -absl::InfiniteDuration();
    bool pending = false;
  };

  Impl(LiveOptions options, std::function<void(const kube::ObjectKey&)> on_answer,
       const base::Clock& clock)
      : options(std::move(options)), on_answer(std::move(on_answer)), clock(clock) {
    if (this->options.provisioner.empty()) return;
    stub = proto::Provisioner::NewStub(net::MakeGrpcChannel(this->options.provisioner));
    thread = base::StartThread("live", [this](std::stop_token) { Run(); });
  }

  void Run() {
    while (std::optional<kube::ObjectKey> key = questions.Pop()) Answer(*key);
  }

  void Answer(const kube::ObjectKey& key) {
    AdviceQuestion question;
    {
      absl::MutexLock lock(&mutex);
      const auto found = known.find(key);
      if (found == known.end()) return;
      question = found->second.question;
    }
    std::optional<Advice> answer = Call(question);
    {
      absl::MutexLock lock(&mutex);
      const auto found = known.find(key);
      if (found == known.end()) return;
      found->second.pending = false;
      if (SameAnswer(found->second.answer, answer)) return;
      found->second.answer = std::move(answer);
    }
    on_answer(key);
  }

  std::optional<Advice> Call(const AdviceQuestion& question) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() +
                         absl::ToChronoMilliseconds(options.deadline));
    proto::PlanRequest request;
    request.add_instance_types(question.instance_type);
    request.set_count(static_cast<uint32_t>(question.count));
    request.set_storage_gib(question.storage_gib);
    request.set_image_family(question.image_family);
    const auto reader = stub->Plan(&context, request);
    proto::PlanResponse response;
    const bool answered = reader->Read(&response);
    context.TryCancel();  // The first message is all that is wanted.
    const grpc::Status status = reader->Finish();
    if (answered) return ReadAnswer(response, question.count);
    base::LogDebug("provisioner gave no advice", {{"error", net::FromGrpcStatus(status)}});
    return std::nullopt;
  }

  const LiveOptions options;
  const std::function<void(const kube::ObjectKey&)> on_answer;
  const base::Clock& clock;
  std::unique_ptr<proto::Provisioner::Stub> stub;
  base::BoundedQueue<kube::ObjectKey> questions{kQuestionsMax};
  absl::Mutex mutex;
  std::map<kube::ObjectKey, Known> known ABSL_GUARDED_BY(mutex);
  std::jthread thread;  // Last: it uses all of the above.
};

Live::Live(LiveOptions options, std::function<void(const kube::ObjectKey&)> on_answer,
           const base::Clock& clock)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(on_answer), clock)) {}

Live::~Live() { Stop(); }

void Live::Stop() {
  impl_->questions.Close();
  if (impl_->thread.joinable()) impl_->thread.join();
}

std::optional<Advice> Live::Ask(const kube::ObjectKey& workspace, const AdviceQuestion& question) {
  if (impl_->options.provisioner.empty()) return std::nullopt;
  absl::MutexLock lock(&impl_->mutex);
  Impl::Known& known = impl_->known[workspace];
  const bool same = known.question == question;
  const absl::Duration now = impl_->clock.Monotonic();
  if (!known.pending && (!same || now - known.asked_at > impl_->options.fresh_for)) {
    known.question = question;
    known.asked_at = now;
    known.pending = impl_->questions.TryPush(kube::ObjectKey(workspace));
    if (!same) known.answer.reset();
  }
  return known.answer;
}

void Live::Forget(const kube::ObjectKey& workspace) {
  absl::MutexLock lock(&impl_->mutex);
  impl_->known.erase(workspace);
}

}  // namespace workspace_controller

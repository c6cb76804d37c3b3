#include "model-server/rpc/text_workers.h"

#include <utility>

#include "common/base/thread.h"

namespace model_server {

TextWorkers::TextWorkers(int threads) {
  for (int i = 0; i < threads; ++i) {
    threads_.push_back(base::StartThread("text", [this](const std::stop_token&) { Run(); }));
  }
}

TextWorkers::~TextWorkers() {
  absl::MutexLock lock(&mutex_);
  stopping_ = true;
}

void TextWorkers::Post(std::function<void()> job) {
  absl::MutexLock lock(&mutex_);
  jobs_.push_back(std::move(job));
}

void TextWorkers::Run() {
  while (true) {
    std::function<void()> job;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &TextWorkers::HasJobOrStops));
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

}  // namespace model_server

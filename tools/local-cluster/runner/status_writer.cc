#include "local-cluster/runner/status_writer.h"

#include <string>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/base/thread.h"

namespace local_cluster {

struct StatusWriter::Pending {
  std::string uid;
  boost::json::value status;  // Null: only the end.
  bool end = false;
};

StatusWriter::StatusWriter(kube::Client& client, int threads)
    : client_(client), queue_({.name = "pod-status"}) {
  for (int i = 0; i < threads; ++i) {
    threads_.push_back(base::StartThread(absl::StrFormat("pod-status-%d", i),
                                         [this](const std::stop_token&) { Work(); }));
  }
}

StatusWriter::~StatusWriter() {
  queue_.ShutDown();
  threads_.clear();
}

void StatusWriter::Put(const kube::Object& pod, boost::json::value status) {
  {
    absl::MutexLock lock(&mutex_);
    std::unique_ptr<Pending>& pending = pending_[pod.key()];
    if (!pending || pending->uid != pod.uid()) pending = std::make_unique<Pending>();
    pending->uid = pod.uid();
    pending->status = std::move(status);
  }
  queue_.Add(pod.key());
}

void StatusWriter::PutEnd(const kube::Object& pod) {
  {
    absl::MutexLock lock(&mutex_);
    std::unique_ptr<Pending>& pending = pending_[pod.key()];
    if (!pending || pending->uid != pod.uid()) pending = std::make_unique<Pending>();
    pending->uid = pod.uid();
    pending->end = true;
  }
  queue_.Add(pod.key());
}

void StatusWriter::Work() {
  while (const std::optional<kube::ObjectKey> key = queue_.Get()) {
    std::unique_ptr<Pending> pending;
    {
      absl::MutexLock lock(&mutex_);
      const auto found = pending_.find(*key);
      if (found != pending_.end()) {
        pending = std::move(found->second);
        pending_.erase(found);
      }
    }
    const absl::Status status = pending ? Write(*key, *pending) : absl::OkStatus();
    if (status.ok()) {
      queue_.Forget(*key);
    } else {
      base::LogWarning("pod status not written", {{"pod", key->ToString()}, {"error", status}});
      {
        absl::MutexLock lock(&mutex_);
        std::unique_ptr<Pending>& newer = pending_[*key];
        if (!newer) {
          newer = std::move(pending);
        } else if (newer->uid == pending->uid && newer->status.is_null()) {
          newer->status = std::move(pending->status);
        }
      }
      queue_.AddRateLimited(*key);
    }
    queue_.Done(*key);
  }
}

absl::Status StatusWriter::Write(const kube::ObjectKey& key, const Pending& pending) {
  if (!pending.status.is_null()) {
    const boost::json::value patch = boost::json::object{
        {"metadata", boost::json::object{{"uid", pending.uid}}}, {"status", pending.status}};
    const absl::Status status = client_
                                    .Patch(kube::resources::kPods, key, kube::PatchType::kMerge,
                                           patch, {.field_manager = "kubelet"}, "status")
                                    .status();
    // Another Pod of that name: ours is gone.
    const bool gone =
        absl::IsNotFound(status) || absl::IsAborted(status) || absl::IsInvalidArgument(status);
    if (!status.ok() && !gone) return status;
    if (absl::IsInvalidArgument(status)) {
      base::LogWarning("pod status refused", {{"pod", key.ToString()}, {"error", status}});
    }
  }
  if (!pending.end) return absl::OkStatus();
  const absl::Status status =
      client_.Delete(kube::resources::kPods, key, {.uid = pending.uid, .grace_period_seconds = 0});
  return absl::IsAborted(status) ? absl::OkStatus() : status;
}

}  // namespace local_cluster

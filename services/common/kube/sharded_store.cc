#include "common/kube/sharded_store.h"

#include <algorithm>
#include <utility>

#include "absl/hash/hash.h"

namespace kube {
namespace {

size_t ShardOf(const ObjectKey& key, size_t shards) {
  return absl::Hash<ObjectKey>()(key) % shards;
}

template <typename Shards>
std::vector<Object> Collect(const Shards& shards, size_t size) {
  std::vector<std::pair<const ObjectKey*, const Object*>> entries;
  entries.reserve(size);
  for (const auto& shard : shards) {
    for (const auto& [key, object] : *shard) entries.emplace_back(&key, &object);
  }
  std::ranges::sort(entries, [](const auto& a, const auto& b) { return *a.first < *b.first; });
  std::vector<Object> objects;
  objects.reserve(entries.size());
  for (const auto& [key, object] : entries) objects.push_back(*object);
  return objects;
}

}  // namespace

class ShardedStore::Picture final : public ObjectStore {
 public:
  Picture(Shards shards, size_t size) : shards_(std::move(shards)), size_(size) {}

  const Object* Find(const ObjectKey& key) const override {
    const Shard& shard = *shards_[ShardOf(key, kShards)];
    const auto found = shard.find(key);
    return found == shard.end() ? nullptr : &found->second;
  }
  std::vector<Object> All() const override { return Collect(shards_, size_); }
  size_t size() const override { return size_; }

 private:
  const Shards shards_;
  const size_t size_;
};

ShardedStore::ShardedStore() {
  for (std::shared_ptr<Shard>& shard : shards_) shard = std::make_shared<Shard>();
}

const Object* ShardedStore::Find(const ObjectKey& key) const {
  const Shard& shard = *shards_[ShardOf(key, kShards)];
  const auto found = shard.find(key);
  return found == shard.end() ? nullptr : &found->second;
}

ShardedStore::Shard& ShardedStore::MutableShard(const ObjectKey& key) {
  const size_t index = ShardOf(key, kShards);
  if (shared_[index]) {
    shards_[index] = std::make_shared<Shard>(*shards_[index]);
    shared_[index] = false;
  }
  last_.reset();
  return *shards_[index];
}

void ShardedStore::Put(const ObjectKey& key, Object object) {
  Shard& shard = MutableShard(key);
  if (shard.insert_or_assign(key, std::move(object)).second) ++size_;
}

void ShardedStore::Erase(const ObjectKey& key) { size_ -= MutableShard(key).erase(key); }

std::vector<Object> ShardedStore::All() const { return Collect(shards_, size_); }

std::shared_ptr<const ObjectStore> ShardedStore::Snapshot() {
  if (last_ == nullptr) {
    last_ = std::make_shared<Picture>(shards_, size_);
    shared_.fill(true);
  }
  return last_;
}

}  // namespace kube

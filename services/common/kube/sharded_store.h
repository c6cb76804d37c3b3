// The informer's cache: cheap to change, and cheap to take a picture of.

#pragma once

#include <array>
#include <map>
#include <memory>
#include <vector>

#include "common/kube/informer.h"

namespace kube {

// Objects by key in a fixed number of shards. A picture shares the shards; changing a shared shard
// copies it first. So neither a change nor a picture costs time in proportion to all objects.
//
// Not thread-safe; the pictures are.
class ShardedStore {
 public:
  ShardedStore();

  // nullptr when there is none. Valid until the next change.
  const Object* Find(const ObjectKey& key) const;
  void Put(const ObjectKey& key, Object object);
  void Erase(const ObjectKey& key);
  size_t size() const { return size_; }

  std::vector<Object> All() const;  // In key order.

  std::shared_ptr<const ObjectStore> Snapshot();

 private:
  static constexpr size_t kShards = 64;
  using Shard = std::map<ObjectKey, Object>;
  using Shards = std::array<std::shared_ptr<Shard>, kShards>;
  class Picture;

  Shard& MutableShard(const ObjectKey& key);

  Shards shards_;
  std::array<bool, kShards> shared_ = {};  // With a picture.
  size_t size_ = 0;
  std::shared_ptr<const ObjectStore> last_;  // Until the next change.
};

}  // namespace kube

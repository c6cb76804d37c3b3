#include "model-server/engine/block_pool.h"

#include <string>
#include <utility>

#include "absl/hash/hash.h"

#include "common/base/check.h"

namespace model_server {

BlockPool::BlockPool(int blocks, int block_tokens) : block_tokens_(block_tokens), blocks_(blocks) {
  free_.reserve(blocks);
  for (int block = blocks - 1; block >= 0; --block) free_.push_back(block);
}

std::optional<int> BlockPool::Allocate() {
  int block = 0;
  if (!free_.empty()) {
    block = free_.back();
    free_.pop_back();
  } else if (!unused_.empty()) {
    block = unused_.front();
    unused_.pop_front();
    Forget(blocks_[block]);
  } else {
    return std::nullopt;
  }
  blocks_[block].users = 1;
  return block;
}

void BlockPool::Share(int block) {
  Block& shared = blocks_[block];
  if (shared.users == 0) {
    CHECK(shared.node != 0);
    unused_.erase(shared.unused);
  }
  ++shared.users;
}

void BlockPool::Release(int block) {
  Block& released = blocks_[block];
  CHECK(released.users > 0);
  if (--released.users > 0) return;
  if (released.node == 0) {
    free_.push_back(block);
  } else {
    released.unused = unused_.insert(unused_.end(), block);
  }
}

void BlockPool::Forget(Block& block) {
  remembered_.erase(block.key);
  block.node = 0;
  block.key = {};
}

PrefixNode BlockPool::Root(std::string_view salt) {
  // Nodes count up from 1; the highest bit keeps roots apart from them.
  return absl::HashOf(std::string(salt)) | (PrefixNode{1} << 63);
}

const int* BlockPool::FindBlock(PrefixNode parent, std::span<const int32_t> tokens) const {
  const auto found =
      remembered_.find(Key{.parent = parent, .tokens = {tokens.begin(), tokens.end()}});
  return found == remembered_.end() ? nullptr : &found->second;
}

BlockPool::Match BlockPool::FindPrefix(PrefixNode root, std::span<const int32_t> tokens,
                                       int tokens_max) {
  Match match{.node = root};
  const auto size = static_cast<size_t>(block_tokens_);
  for (size_t at = 0; at + size <= tokens.size() && at + size <= static_cast<size_t>(tokens_max);
       at += size) {
    const int* block = FindBlock(match.node, tokens.subspan(at, size));
    if (block == nullptr) break;
    Share(*block);
    match.blocks.push_back(*block);
    match.node = blocks_[*block].node;
  }
  return match;
}

int BlockPool::PeekPrefix(PrefixNode root, std::span<const int32_t> tokens, int tokens_max) const {
  const auto size = static_cast<size_t>(block_tokens_);
  size_t at = 0;
  while (at + size <= tokens.size() && at + size <= static_cast<size_t>(tokens_max)) {
    const int* block = FindBlock(root, tokens.subspan(at, size));
    if (block == nullptr) break;
    root = blocks_[*block].node;
    at += size;
  }
  return static_cast<int>(at);
}

PrefixNode BlockPool::Publish(PrefixNode parent, std::span<const int32_t> tokens, int block) {
  Key key{.parent = parent, .tokens = {tokens.begin(), tokens.end()}};
  const auto [entry, is_new] = remembered_.try_emplace(key, block);
  if (!is_new) return blocks_[entry->second].node;
  Block& published = blocks_[block];
  CHECK(published.users > 0 && published.node == 0);
  published.node = next_node_++;
  published.key = std::move(key);
  return published.node;
}

void BlockPool::CheckInvariants() const {
  size_t used = 0;
  for (const Block& block : blocks_) {
    if (block.users > 0) ++used;
    if (block.node == 0) continue;
    const auto found = remembered_.find(block.key);
    CHECK(found != remembered_.end() && &blocks_[found->second] == &block);
  }
  CHECK(used + free_.size() + unused_.size() == blocks_.size());
}

}  // namespace model_server

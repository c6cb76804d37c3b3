// The memory of the KV cache, in blocks of a few tokens, and which of them hold a known prefix.

#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace model_server {

// A place in the tree of cached prefixes: the tokens up to here, and the salt they belong to.
using PrefixNode = uint64_t;

// Hands out blocks by number, counts who uses each, and remembers full blocks by their tokens, so
// that a prompt which begins as an earlier one need not be computed again. A remembered block that
// nobody uses stays until its memory is needed; the one unused for longest goes first.
//
// Owned by the engine thread.
class BlockPool {
 public:
  BlockPool(int blocks, int block_tokens);

  int total() const { return static_cast<int>(blocks_.size()); }
  int block_tokens() const { return block_tokens_; }

  // Blocks that Allocate() can hand out, remembered ones included.
  int available() const { return static_cast<int>(free_.size() + unused_.size()); }

  // A block with one user, or nullopt.
  std::optional<int> Allocate();
  void Share(int block);
  // The last user's release makes the block available.
  void Release(int block);
  int users(int block) const { return blocks_[block].users; }

  // The root of all prefixes of one salt.
  static PrefixNode Root(std::string_view salt);

  struct Match {
    std::vector<int> blocks;  // Shared with the caller.
    PrefixNode node = 0;      // Where the next block is to be published.
  };
  // The remembered blocks with which `tokens` begins; `tokens_max` bounds how many tokens they
  // hold.
  Match FindPrefix(PrefixNode root, std::span<const int32_t> tokens, int tokens_max);
  // The same without taking them: how many tokens would be found.
  int PeekPrefix(PrefixNode root, std::span<const int32_t> tokens, int tokens_max) const;

  // Remembers a block that is full: `tokens` are those in it. Returns the node after it. When the
  // same prefix is remembered already, that one stays.
  PrefixNode Publish(PrefixNode parent, std::span<const int32_t> tokens, int block);

  // CHECKs that every block is either used, or in exactly one list.
  void CheckInvariants() const;

 private:
  struct Key {
    PrefixNode parent = 0;
    std::vector<int32_t> tokens;

    bool operator==(const Key&) const = default;
    template <typename H>
    friend H AbslHashValue(H h, const Key& key) {
      return H::combine(std::move(h), key.parent, key.tokens);
    }
  };
  struct Block {
    int users = 0;
    PrefixNode node = 0;  // 0: not remembered.
    Key key;
    std::list<int>::iterator unused;  // In unused_, while users is 0 and node is not.
  };

  void Forget(Block& block);
  const int* FindBlock(PrefixNode parent, std::span<const int32_t> tokens) const;

  const int block_tokens_;
  std::vector<Block> blocks_;
  std::vector<int> free_;
  std::list<int> unused_;  // Remembered, without users; the front goes first.
  absl::flat_hash_map<Key, int> remembered_;
  PrefixNode next_node_ = 1;
};

}  // namespace model_server

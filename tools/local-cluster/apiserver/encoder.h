// Objects of the store as the text of an answer: whole, metadata only, or as a table.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/json/fwd.hpp>

#include "common/base/clock.h"
#include "local-cluster/apiserver/kinds.h"
#include "local-cluster/apiserver/negotiation.h"
#include "local-cluster/apiserver/storage/store.h"

namespace local_cluster {

// Of one kind, version and form. Immutable; may be shared by threads.
class Encoder {
 public:
  Encoder(std::shared_ptr<const Kind> kind, const KindVersion& version, Negotiated negotiated,
          const base::Clock& clock);

  // `stored` is in storage form. In a watch only the first table has column definitions.
  std::string Object(const SharedJson& stored, bool with_columns = true) const;

  struct ListHeader {
    uint64_t revision = 0;
    std::string continue_token;
    std::optional<size_t> remaining;
  };
  std::string List(const std::vector<StoredObject>& items, const ListHeader& header) const;

  // A bookmark's object: kind, apiVersion, resourceVersion, and the end of the initial events.
  std::string Bookmark(uint64_t revision, bool initial_events_end) const;

  // Equal for encoders that give equal text.
  const std::string& identity() const { return identity_; }
  const Kind& kind() const { return *kind_; }

 private:
  boost::json::value Row(const boost::json::value& object) const;
  std::string TableOf(const std::vector<StoredObject>& items, const ListHeader& header,
                      bool with_columns) const;

  std::shared_ptr<const Kind> kind_;
  const KindVersion& version_;
  Negotiated negotiated_;
  const base::Clock& clock_;
  std::string api_version_;
  std::string identity_;
};

}  // namespace local_cluster

// POST, PUT, PATCH and DELETE of objects: from the request's body to the answer.

#pragma once

#include "absl/status/statusor.h"

#include "common/base/clock.h"
#include "local-cluster/apiserver/object_reader.h"
#include "local-cluster/apiserver/object_writer.h"
#include "local-cluster/apiserver/request.h"

namespace local_cluster {

// Thread-safe.
class WriteHandler {
 public:
  WriteHandler(ObjectWriter& writer, const ObjectReader& reader, const base::Clock& clock);

  absl::StatusOr<net::Response> Post(const ResourceRequest& request) const;
  absl::StatusOr<net::Response> Put(const ResourceRequest& request) const;
  absl::StatusOr<net::Response> Patch(const ResourceRequest& request) const;
  absl::StatusOr<net::Response> Delete(const ResourceRequest& request) const;
  absl::StatusOr<net::Response> DeleteCollection(const ResourceRequest& request) const;

  // `object`, which is in the version's form, with the request's patch on it.
  static absl::StatusOr<boost::json::value> Patched(const ResourceRequest& request,
                                                    boost::json::value object,
                                                    const boost::json::value& patch,
                                                    const Schema* schema);

 private:
  absl::StatusOr<net::Response> Answer(const ResourceRequest& request,
                                       const absl::StatusOr<WriteResult>& result) const;
  absl::StatusOr<net::Response> Apply(const ResourceRequest& request) const;

  ObjectWriter& writer_;
  const ObjectReader& reader_;
  const base::Clock& clock_;
};

}  // namespace local_cluster

"""What Kafka's error codes mean to the engine, in one table."""

from __future__ import annotations

from enum import Enum

from confluent_kafka import KafkaError

from penstock.errors import ConnectorError, FatalConnectorError, NotConnected, ProduceError


class Kind(Enum):
    """What to do about an error."""

    RETRIABLE = "passes by itself, or when the brokers are back; the same may succeed later"
    REFUSED = "this record or request will never be accepted"
    FATAL = "this client will never work as it is configured"


_RETRIABLE = """
    _BAD_MSG _BAD_COMPRESSION _DESTROY _FAIL _TRANSPORT _RESOLVE _MSG_TIMED_OUT _PARTITION_EOF _UNKNOWN_TOPIC
    _ALL_BROKERS_DOWN _TIMED_OUT _QUEUE_FULL _ISR_INSUFF _NODE_UPDATE _SSL _WAIT_COORD _UNKNOWN_GROUP _IN_PROGRESS
    _PREV_IN_PROGRESS _ASSIGN_PARTITIONS _REVOKE_PARTITIONS _STATE _NO_OFFSET _OUTDATED _TIMED_OUT_QUEUE _WAIT_CACHE
    _INTR _PARTIAL _RETRY _PURGE_QUEUE _PURGE_INFLIGHT _MAX_POLL_EXCEEDED _UNKNOWN_BROKER _ASSIGNMENT_LOST _NOOP
    _LOG_TRUNCATION _INVALID_DIFFERENT_RECORD _DESTROY_BROKER _CONFLICT _NOENT
    UNKNOWN NO_ERROR INVALID_MSG UNKNOWN_TOPIC_OR_PART LEADER_NOT_AVAILABLE NOT_LEADER_FOR_PARTITION REQUEST_TIMED_OUT
    BROKER_NOT_AVAILABLE REPLICA_NOT_AVAILABLE STALE_CTRL_EPOCH NETWORK_EXCEPTION COORDINATOR_LOAD_IN_PROGRESS
    COORDINATOR_NOT_AVAILABLE NOT_COORDINATOR NOT_ENOUGH_REPLICAS NOT_ENOUGH_REPLICAS_AFTER_APPEND ILLEGAL_GENERATION
    UNKNOWN_MEMBER_ID REBALANCE_IN_PROGRESS NOT_CONTROLLER OUT_OF_ORDER_SEQUENCE_NUMBER DUPLICATE_SEQUENCE_NUMBER
    INVALID_PRODUCER_EPOCH INVALID_PRODUCER_ID_MAPPING CONCURRENT_TRANSACTIONS OPERATION_NOT_ATTEMPTED
    KAFKA_STORAGE_ERROR LOG_DIR_NOT_FOUND
    UNKNOWN_PRODUCER_ID REASSIGNMENT_IN_PROGRESS DELEGATION_TOKEN_EXPIRED GROUP_ID_NOT_FOUND FETCH_SESSION_ID_NOT_FOUND
    INVALID_FETCH_SESSION_EPOCH LISTENER_NOT_FOUND FENCED_LEADER_EPOCH UNKNOWN_LEADER_EPOCH STALE_BROKER_EPOCH
    OFFSET_NOT_AVAILABLE MEMBER_ID_REQUIRED PREFERRED_LEADER_NOT_AVAILABLE ELIGIBLE_LEADERS_NOT_AVAILABLE
    ELECTION_NOT_NEEDED NO_REASSIGNMENT_IN_PROGRESS UNSTABLE_OFFSET_COMMIT THROTTLING_QUOTA_EXCEEDED
    FEATURE_UPDATE_FAILED UNKNOWN_TOPIC_ID INCONSISTENT_TOPIC_ID FENCED_MEMBER_EPOCH UNRELEASED_INSTANCE_ID
    STALE_MEMBER_EPOCH UNKNOWN_CONTROLLER_ID UNKNOWN_SUBSCRIPTION_ID TELEMETRY_TOO_LARGE TRANSACTION_ABORTABLE
    INVALID_RECORD_STATE SHARE_SESSION_NOT_FOUND INVALID_SHARE_SESSION_EPOCH FENCED_STATE_EPOCH VOTER_NOT_FOUND
    REBOOTSTRAP_REQUIRED SHARE_SESSION_LIMIT_REACHED
"""

_REFUSED = """
    _UNKNOWN_PARTITION _KEY_SERIALIZATION _VALUE_SERIALIZATION _KEY_DESERIALIZATION _VALUE_DESERIALIZATION
    _UNDERFLOW _INVALID_TYPE _READ_ONLY
    INVALID_MSG_SIZE MSG_SIZE_TOO_LARGE OFFSET_METADATA_TOO_LARGE RECORD_LIST_TOO_LARGE INVALID_COMMIT_OFFSET_SIZE
    INVALID_TIMESTAMP INVALID_REQUEST UNSUPPORTED_FOR_MESSAGE_FORMAT POLICY_VIOLATION
    UNSUPPORTED_COMPRESSION_TYPE INVALID_RECORD
"""

_FATAL = """
    _CRIT_SYS_RESOURCE _FS _INVALID_ARG _EXISTING_SUBSCRIPTION _UNKNOWN_PROTOCOL _NOT_IMPLEMENTED _AUTHENTICATION
    _UNSUPPORTED_FEATURE _FATAL _INCONSISTENT _GAPLESS_GUARANTEE _NOT_CONFIGURED _FENCED _APPLICATION _AUTO_OFFSET_RESET
    OFFSET_OUT_OF_RANGE TOPIC_EXCEPTION INVALID_REQUIRED_ACKS INCONSISTENT_GROUP_PROTOCOL INVALID_GROUP_ID
    INVALID_SESSION_TIMEOUT TOPIC_AUTHORIZATION_FAILED GROUP_AUTHORIZATION_FAILED CLUSTER_AUTHORIZATION_FAILED
    UNSUPPORTED_SASL_MECHANISM ILLEGAL_SASL_STATE UNSUPPORTED_VERSION
    TOPIC_ALREADY_EXISTS INVALID_PARTITIONS INVALID_REPLICATION_FACTOR
    INVALID_REPLICA_ASSIGNMENT INVALID_CONFIG INVALID_TXN_STATE INVALID_TRANSACTION_TIMEOUT
    TRANSACTION_COORDINATOR_FENCED TRANSACTIONAL_ID_AUTHORIZATION_FAILED SECURITY_DISABLED SASL_AUTHENTICATION_FAILED
    DELEGATION_TOKEN_AUTH_DISABLED DELEGATION_TOKEN_NOT_FOUND DELEGATION_TOKEN_OWNER_MISMATCH
    DELEGATION_TOKEN_REQUEST_NOT_ALLOWED DELEGATION_TOKEN_AUTHORIZATION_FAILED INVALID_PRINCIPAL_TYPE NON_EMPTY_GROUP
    TOPIC_DELETION_DISABLED GROUP_MAX_SIZE_REACHED FENCED_INSTANCE_ID GROUP_SUBSCRIBED_TO_TOPIC PRODUCER_FENCED
    RESOURCE_NOT_FOUND DUPLICATE_RESOURCE UNACCEPTABLE_CREDENTIAL INCONSISTENT_VOTER_SET INVALID_UPDATE_VERSION
    PRINCIPAL_DESERIALIZATION_FAILURE UNSUPPORTED_ASSIGNOR MISMATCHED_ENDPOINT_TYPE UNSUPPORTED_ENDPOINT_TYPE
    INVALID_REGISTRATION INVALID_VOTER_KEY DUPLICATE_VOTER INVALID_REGULAR_EXPRESSION STREAMS_INVALID_TOPOLOGY
    STREAMS_INVALID_TOPOLOGY_EPOCH STREAMS_TOPOLOGY_FENCED
"""

KINDS: dict[str, Kind] = {
    name: kind
    for kind, names in ((Kind.RETRIABLE, _RETRIABLE), (Kind.REFUSED, _REFUSED), (Kind.FATAL, _FATAL))
    for name in names.split()
}
"""By the name of the code, for every code of confluent-kafka 2.16. An older client lacks some of them."""

_BY_CODE = {code: kind for name, kind in KINDS.items() if isinstance(code := getattr(KafkaError, name, None), int)}

_REMEDIES: dict[str, str] = {
    "_AUTHENTICATION": "correct 'sasl.username' and 'sasl.password' (KAFKA_KEY, KAFKA_SECRET) or 'sasl.mechanism'",
    "SASL_AUTHENTICATION_FAILED": "correct 'sasl.username' and 'sasl.password' (KAFKA_KEY, KAFKA_SECRET)",
    "UNSUPPORTED_SASL_MECHANISM": "set 'sasl.mechanism' to one that the brokers offer",
    "TOPIC_AUTHORIZATION_FAILED": "let the brokers grant this user access to the topic",
    "GROUP_AUTHORIZATION_FAILED": "let the brokers grant this user access to the group, or use another 'group.id'",
    "CLUSTER_AUTHORIZATION_FAILED": "let the brokers grant this user IdempotentWrite, or set "
    "'enable.idempotence: false'",
    "INCONSISTENT_GROUP_PROTOCOL": "the members of this group use another assignment; set "
    "'partition.assignment.strategy' to theirs (librdkafka's own is 'range,roundrobin'), or stop them all first, or "
    "use another 'group.id'",
    "INVALID_GROUP_ID": "use another 'group.id'",
    "GROUP_MAX_SIZE_REACHED": "start fewer workers in this group",
    "FENCED_INSTANCE_ID": "another worker has the same 'group.instance.id'; give each its own",
    "_FENCED": "another worker has the same 'group.instance.id'; give each its own",
    "UNSUPPORTED_ASSIGNOR": "correct 'group.remote.assignor'",
    "MSG_SIZE_TOO_LARGE": "raise 'message.max.bytes' here and 'max.message.bytes' of the topic, or send less",
    "OFFSET_OUT_OF_RANGE": "the group's committed offset no longer exists; reset the group's offsets",
    "_AUTO_OFFSET_RESET": "the group's committed offset no longer exists, and 'auto.offset.reset' is 'error'; "
    "reset the group's offsets",
    "_UNKNOWN_PARTITION": "name a partition that the topic has, or none",
    "UNKNOWN_TOPIC_OR_PART": "create the topic, or correct the queue's 'value'",
    "_UNKNOWN_TOPIC": "create the topic, or correct the queue's 'value'",
    "TOPIC_EXCEPTION": "correct the queue's 'value'",
    "_SSL": "correct 'security.protocol', 'ssl.ca.location' or the other 'ssl.…' keys, if the brokers are well",
}

_CERTIFICATE = (
    "the brokers' certificate is of an authority that 'ssl.ca.location' does not name, or has expired, or is of "
    "another name than 'bootstrap.servers' says; `openssl s_client -connect HOST:PORT` shows it"
)
"""For three faults that the client does not tell apart."""


def kind_of(error: KafkaError) -> Kind:
    """What to do about an error. An unknown one is retriable, so that nothing is dropped because of it."""
    if error.fatal():
        return Kind.FATAL
    return _BY_CODE.get(error.code(), Kind.RETRIABLE)


def is_about_a_batch(error: KafkaError) -> bool:
    """Whether the broker may have rejected all records of a request because of one of them, or of their total size."""
    return kind_of(error) is Kind.REFUSED


def describe(error: KafkaError) -> str:
    """Kafka's text, with what to do about it if that is known."""
    remedy = _CERTIFICATE if "certificate verify failed" in error.str() else _REMEDIES.get(error.name())
    text = f"{error.str()} ({error.name()})"
    return f"{text}; {remedy}" if remedy else text


def connector_error(error: KafkaError, where: str) -> ConnectorError:
    """The error to raise for an error of a connection or of a whole request.

    Args:
        error: The client's.
        where: What was tried, with whom: "Kafka at host:9092: topic 'orders'".
    """
    text = f"{where}: {describe(error)}"
    if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
        return ConnectorError(text)
    return NotConnected(text) if kind_of(error) is Kind.RETRIABLE else FatalConnectorError(text)


def produce_error(error: KafkaError, where: str) -> ProduceError:
    """The error of a record that was not stored, for every kind except a fatal one."""
    return ProduceError(f"{where}: {describe(error)}", retriable=kind_of(error) is Kind.RETRIABLE)

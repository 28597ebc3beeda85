"""Who does what, and which test of the kit must catch it. Imports no connector before it is asked what is broken."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from penstock.capabilities import Capabilities
from penstock.specs import ConnectorSpec

CAPABILITIES = Capabilities(
    headers=True,
    keys=True,
    ordering="queue",
    redelivery_count=True,
    record_delay=True,
    requeue_delay=True,
    lease=True,
    transactions=True,
    replay=True,
    lag=True,
    tombstones=True,
    groups=True,
    browse=True,
    claim=True,
    backlog=True,
    create=True,
    seek=True,
)


@dataclass(frozen=True)
class Part:
    """One connector of the plugin; what it does not say is as in the reference one.

    Attributes:
        name: What a configuration writes behind "mutants.".
        caught_by: The test of the kit that must refuse it, without its "test_".
        consumer, producer, options, check: `module:Name` in this package.
        capabilities: What it declares.
        record_options: What its spec says of them.
        says: What is broken, where no class says it.
    """

    name: str
    caught_by: str = ""
    consumer: str = "reference:ReferenceConsumer"
    producer: str = "reference:ReferenceProducer"
    options: str | None = "options:ReferenceOptions"
    capabilities: Capabilities = CAPABILITIES
    check: str | None = None
    record_options: frozenset[str] | None = None
    says: str = ""

    @property
    def connector(self) -> str:
        """What a configuration writes."""
        return f"mutants.{self.name}"

    def spec(self) -> ConnectorSpec:
        """What the plugin offers."""
        return ConnectorSpec(
            self.connector,
            f"mutants.{self.consumer}",
            f"mutants.{self.producer}",
            f"mutants.{self.options}" if self.options else None,
            self.capabilities,
            f"mutants.{self.check}" if self.check else None,
            record_options=self.record_options,
        )

    def fault(self) -> str:
        """What is broken in it: in a sentence of its own, or in that of the class that is not the reference one."""
        if self.says:
            return self.says
        theirs = (self.consumer, self.producer, self.options)
        reference = (REFERENCE.consumer, REFERENCE.producer, REFERENCE.options)
        (module, _, name) = next(
            mine for mine, other in zip(theirs, reference, strict=True) if mine != other
        ).partition(":")
        text = inspect.getdoc(getattr(import_module(f"mutants.{module}"), name)) or ""
        return " ".join(text.split())


def _named(target: str) -> str:
    """`module:DoesNothing` is called does_nothing."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in target.partition(":")[2])[1:]


def consumer(target: str, caught_by: str, name: str = "", **other: Any) -> Part:
    """A mutant on the consumer's side."""
    return Part(name or _named(target), caught_by, consumer=target, **other)


def producer(target: str, caught_by: str, **other: Any) -> Part:
    """A mutant on the producer's side."""
    return Part(_named(target), caught_by, producer=target, **other)


def options(target: str, caught_by: str, **other: Any) -> Part:
    """A mutant in its options."""
    return Part(_named(target), caught_by, options=target, **other)


def declares(name: str, caught_by: str, **capabilities: Any) -> Part:
    """The reference connector, which says something else of itself."""
    (hidden,) = capabilities
    says = f"Has {hidden}, and does not declare it."
    return Part(name, caught_by, capabilities=replace(CAPABILITIES, **capabilities), says=says)


BY_KEY = replace(CAPABILITIES, ordering="key")

REFERENCE = Part("reference")
REFERENCE_BY_KEY = Part("reference_by_key", consumer="ordering:ReferenceByKeyConsumer", capabilities=BY_KEY)

DEATH = "a_death_is_told_from_a_requeue"
COMES_BACK = "a_message_comes_back_as_it_was_sent"
COMES_AGAIN = "a_message_requeued_comes_again_in_the_same_session"
LEASE_ENDS = "a_lease_that_ends_lets_others_have_the_message"
LEASE_STAYS = "a_lease_that_is_extended_does_not_end"
ONE_BY_ONE = "a_batch_is_settled_message_by_message"
EMPTY = "consume_on_an_empty_queue_returns_in_time"
HEADERS = "headers_come_back_byte_for_byte"
KEYS = "keys_come_back_byte_for_byte"
EVERY_BYTE = "every_byte_survives"
IN_ORDER = "messages_come_in_the_order_they_were_produced"
LAG = "lag_tells_how_many_messages_wait"
REFUSED = "a_refused_record_does_not_stop_its_neighbours"
NOTHING_LEFT = "nothing_is_left_after_a_shutdown"
OUTAGE = "an_outage_loses_nothing"
DELAYED = "a_message_requeued_with_a_delay_comes_after_it"
DEAD_LETTER = "a_dead_letter_is_whole_and_says_why"
IN_FLIGHT = "no_more_is_in_flight_than_was_allowed"
SHOWS_ALL = "browsing_shows_every_message"
CHOSEN_ALONE = "claiming_delivers_the_chosen_alone"
MOVED = "a_group_is_moved_to_another_place"
COUNTED = "messages_are_counted_without_joining"
CREATED = "a_queue_is_created_once"
UNCHANGED = "browsing_changes_nothing"
UNASKED = "a_probe_changes_nothing"
TOGETHER = "outputs_show_with_the_settlement_of_their_inputs"

MUTANTS = [
    # settling
    consumer("settling:IgnoresFencing", "a_late_settlement_does_not_settle_for_the_new_owner"),
    consumer("settling:IgnoresFencing", "a_success_after_a_failure_comes_too_late"),
    consumer("settling:IgnoresFencing", "a_worker_that_was_frozen_cannot_settle_what_others_have"),
    consumer("settling:CountsNothingLate", LEASE_ENDS),
    consumer("settling:FailsUnfenced", LEASE_ENDS),
    consumer("settling:ExtendsUnfenced", LEASE_ENDS),
    consumer("settling:NackDoesNothing", COMES_AGAIN),
    consumer("settling:AttemptsStuck", COMES_AGAIN),
    consumer("settling:CountsForItself", "attempts_survive_the_consumer"),
    consumer("settling:SettlesByCount", ONE_BY_ONE),
    consumer("settling:SettlesWholeBatch", ONE_BY_ONE),
    consumer("settling:GivesBackWholeBatch", ONE_BY_ONE),
    consumer("settling:SettlesUpToTheLast", "what_is_settled_out_of_order_does_not_settle_the_rest"),
    consumer("settling:RaisesWhenSettledTwice", "a_message_is_settled_once"),
    consumer("settling:KeepsTheObject", "a_redelivery_is_a_fresh_copy"),
    consumer("settling:SettlesAfterTheClose", "a_settlement_after_the_close_is_harmless"),
    consumer("settling:IgnoresDelay", DELAYED),
    consumer("settling:DelaysInTheWrongUnit", DELAYED),
    consumer("settling:DoesNotExtend", LEASE_STAYS),
    consumer("settling:ExtendsOnlyTheFirst", LEASE_STAYS),
    consumer("settling:SaysNoLease", "a_lease_says_how_long_it_lasts"),
    consumer("settling:SettlesTheFirstThousand", "many_messages_are_settled_in_one_call"),
    consumer("settling:CountsInFlightAsLate", "many_messages_are_settled_in_one_call"),
    consumer("settling:TakesRequeuesForDeaths", DEATH),
    consumer("settling:SeesNoDeath", DEATH),
    consumer("settling:ForgetsBegunCalls", DEATH),
    consumer("settling:CountsClaims", DEATH),
    consumer("settling:KeepsEndedCalls", DEATH),
    # losing
    consumer("losing:LosesOnClose", "a_close_with_messages_in_flight_loses_none"),
    consumer("losing:SettlesAtConsume", "killed_workers_lose_nothing"),
    consumer("losing:KeepsFailuresToItself", "a_message_requeued_survives_the_close"),
    consumer("losing:LosesDelayedOnClose", "a_message_that_waits_for_its_next_attempt_holds_up_no_other"),
    consumer("losing:GivesUpSilently", "consumers_that_fail_everything_lose_nothing"),
    consumer("losing:LosesWhatItFetchedAhead", "a_close_just_after_consuming_loses_nothing"),
    consumer("losing:HoldsFetchedForEver", "a_close_just_after_consuming_loses_nothing"),
    consumer("losing:LeaseNeverEnds", LEASE_ENDS),
    consumer("losing:LeaseNeverEnds", "workers_that_join_leave_and_die_lose_nothing"),
    consumer("losing:DeliversTwice", "every_message_arrives_once"),
    consumer("losing:StartsAtTheEnd", "messages_wait_for_a_consumer_that_comes_later"),
    consumer("losing:ReplaysFromTheEnd", "what_was_settled_can_be_read_again"),
    consumer("losing:SkipsToTheEndAfterARestart", "a_restart_loses_nothing"),
    consumer("losing:StaysAwayAfterARestart", "a_restart_loses_nothing"),
    consumer("losing:SettlesWhenOthersJoin", "what_is_in_flight_while_another_joins_is_not_lost"),
    consumer("losing:RemembersForItself", "consumers_may_come_and_go"),
    consumer("losing:MixesGroups", "every_group_gets_every_message"),
    consumer("losing:GroupOfItsOwn", "members_of_a_group_share_its_messages"),
    consumer("losing:MixesQueues", "queues_do_not_bleed"),
    consumer("losing:SharesBetweenQueues", "many_queues_work_side_by_side"),
    consumer("losing:TakesEverything", "consumers_share_a_queue"),
    consumer("losing:TakesEverything", "a_blocked_worker_does_not_fill_its_memory"),
    consumer("losing:ForgetsWhileBlocked", "a_worker_goes_on_after_it_was_blocked"),
    consumer("losing:Starves", "a_message_that_always_fails_does_not_starve_the_others"),
    consumer("losing:StealsWhenOpening", "another_consumer_that_opens_takes_nothing_away"),
    consumer("losing:LosesWhatItOnlyLookedAt", "consumers_that_open_and_close_together_lose_nothing"),
    # fidelity
    consumer("fidelity:DropsEmptyBodies", "an_empty_body_stays_an_empty_body"),
    consumer("fidelity:MangledAsText", EVERY_BYTE),
    consumer("fidelity:EndsAtNul", EVERY_BYTE),
    consumer("fidelity:CutsLargeBodies", "a_large_body_survives"),
    consumer("fidelity:TombstoneBecomesEmpty", "a_tombstone_is_not_an_empty_body"),
    producer(
        "fidelity:StoresTombstonesAsEmpty",
        "a_null_body_never_becomes_another_one",
        capabilities=replace(CAPABILITIES, tombstones=False),
    ),
    consumer("fidelity:HeadersAsDict", HEADERS),
    consumer("fidelity:LeaksHeaders", HEADERS),
    consumer("fidelity:AsciiHeaders", HEADERS),
    consumer("fidelity:DropsKeys", KEYS),
    consumer("fidelity:EmptyKeyIsNone", KEYS),
    consumer("fidelity:TimestampInMilliseconds", COMES_BACK),
    consumer("fidelity:AttemptsFromZero", COMES_BACK),
    consumer("fidelity:NoPosition", COMES_BACK),
    consumer("fidelity:TextBodies", COMES_BACK),
    # ordering
    consumer("ordering:Shuffles", IN_ORDER),
    consumer("ordering:NewestBatchFirst", IN_ORDER),
    consumer("ordering:GivesBackBehind", IN_ORDER),
    consumer(
        "ordering:GivesBackBehind",
        "messages_of_a_key_come_in_the_order_they_were_produced",
        name="requeues_behind_its_key",
        capabilities=BY_KEY,
    ),
    consumer("ordering:GivesBackInAnyOrder", "order_survives_a_failure_of_every_message", capabilities=BY_KEY),
    consumer("ordering:LeavesBehind", "order_survives_the_consumer", capabilities=BY_KEY),
    consumer("ordering:SharesKeys", "order_by_key_holds_with_several_consumers", capabilities=BY_KEY),
    consumer("ordering:HandsOverInTheMiddle", "order_by_key_survives_a_consumer_that_joins", capabilities=BY_KEY),
    # reading
    consumer("reading:AnswersNone", "a_message_comes_back_as_it_was_sent"),
    consumer("reading:AnswersAGenerator", "a_message_comes_back_as_it_was_sent"),
    consumer("reading:ReturnsMoreThanAsked", "consume_never_returns_more_than_asked_for"),
    consumer("reading:HangsOnEmpty", EMPTY),
    consumer("reading:HotOnEmpty", EMPTY),
    consumer("reading:BlocksTheLoop", EMPTY),
    consumer("reading:WaitsForAFullBatch", "consume_returns_as_soon_as_there_is_anything"),
    consumer("reading:LooksSeldom", "a_waiting_consumer_is_woken_by_a_message"),
    consumer("reading:OneLockForAll", "settling_does_not_wait_for_a_waiting_consume"),
    consumer("reading:LagIsZero", LAG),
    consumer("reading:LagCountsInFlight", LAG),
    consumer("reading:LagIsUnknown", LAG),
    consumer("reading:LagForgetsFailures", "lag_is_not_zero_while_a_message_waits"),
    consumer("reading:LagForgetsDelays", "lag_counts_what_a_delay_holds_back"),
    consumer("reading:LagForgetsWhatIsFetched", "lag_counts_what_the_client_has_fetched"),
    # browsing
    consumer("settling:CutsDelays", DELAYED),
    consumer("settling:CountsUntilARestart", "attempts_survive_a_restart_of_the_backend"),
    consumer("browsing:LeasesWhileBrowsing", UNCHANGED),
    consumer("browsing:CountsWhileBrowsing", UNCHANGED),
    consumer("browsing:SettlesWhileBrowsing", UNCHANGED),
    consumer("browsing:ProlongsWhileBrowsing", "browsing_does_not_prolong_a_lease"),
    consumer("browsing:BrowsesWhatWaits", SHOWS_ALL),
    consumer("browsing:BrowsesFromTheStart", SHOWS_ALL),
    consumer("browsing:BrowsesMoreThanAsked", SHOWS_ALL),
    consumer("browsing:BrowsesDeliveries", SHOWS_ALL),
    consumer("browsing:BrowsesOnlyWhenConnected", SHOWS_ALL),
    consumer("browsing:SaysThatAllWaits", SHOWS_ALL),
    consumer("browsing:BrowsesByCount", "browsing_resumes_where_it_stopped"),
    # claiming
    consumer("claiming:ClaimsTheOldest", CHOSEN_ALONE),
    consumer("claiming:CountsWhatItPassesOver", CHOSEN_ALONE),
    consumer("claiming:ClaimsWithoutAClaim", CHOSEN_ALONE),
    consumer("claiming:ClaimsNothing", CHOSEN_ALONE),
    # seeking
    consumer("seeking:SeeksNowhere", MOVED),
    consumer("seeking:SeeksBehindTheMessage", MOVED),
    consumer("seeking:SeeksTheBeginningForATime", MOVED),
    # operations
    consumer("operations:CountsWhatIsHeldAsWaiting", COUNTED),
    consumer("operations:CountsWhatIsDelayedAsWaiting", COUNTED),
    consumer("operations:CountsWhatWasSettled", COUNTED),
    consumer("operations:TellsAMillisecond", COUNTED),
    consumer("operations:CountsOnlyWhenConnected", COUNTED),
    consumer("operations:LeasesWhileCounting", "counting_changes_nothing"),
    consumer("operations:SettlesWhileCounting", "counting_changes_nothing"),
    consumer("operations:FollowsFromTheStart", "what_arrives_is_followed"),
    consumer("operations:TakesWhatItFollows", "what_arrives_is_followed"),
    producer("operations:CreatesAnew", CREATED),
    producer("operations:AlwaysCreates", CREATED),
    producer("operations:FailsIfItExists", CREATED),
    # probing
    consumer("probing:TakesWhileProbing", UNASKED),
    consumer("probing:CountsWhileProbing", UNASKED),
    consumer("probing:ProbesWhatItHasNot", UNASKED),
    # producing
    producer("producing:SwallowsRefusals", REFUSED),
    producer("producing:RefusesAllForOne", REFUSED),
    producer("producing:RefusesForNow", REFUSED),
    producer("producing:RaisesForOne", REFUSED),
    producer("producing:AnswersOnlyErrors", "a_confirmed_record_can_be_consumed"),
    producer("producing:ConfirmsEarly", "what_was_confirmed_survives_its_producer"),
    producer("producing:ConfirmsAtTheEnd", "a_confirmed_record_can_be_consumed"),
    producer("producing:LosesItsBuffer", "a_closed_producer_leaves_nothing_behind"),
    producer("producing:AcceptsAfterTheClose", "produce_after_the_close_raises"),
    producer("producing:OvertakesItself", "calls_at_the_same_time_all_arrive"),
    producer("producing:LosesAtTheSameTime", "calls_at_the_same_time_all_arrive"),
    producer("producing:StoresTwice", "every_message_arrives_once"),
    producer("producing:ConfirmsWhileAway", OUTAGE),
    producer("producing:RefusesWhileAway", OUTAGE),
    producer("producing:ConfirmsWhileHung", "a_backend_that_hangs_confirms_nothing"),
    producer("producing:FailsOnNothing", "producing_nothing_is_nothing"),
    producer("producing:CutsRecordDelays", "a_record_with_a_delay_comes_after_it"),
    producer("producing:IgnoresOptions", "an_option_of_a_record_is_read_or_refused"),
    producer(
        "producing:PromisesOptions",
        "an_option_of_a_record_is_read_or_refused",
        record_options=frozenset({"priority"}),
    ),
    producer("engines:HasNoRoomForLetters", "the_dead_letter_of_a_large_message_is_stored"),
    producer("producing:IgnoresRecordDelay", "a_record_with_a_delay_comes_after_it"),
    # opening
    consumer("opening:LeaksAThread", NOTHING_LEFT),
    producer("opening:LeaksAFile", NOTHING_LEFT),
    consumer("opening:LeaksATask", NOTHING_LEFT),
    consumer("opening:FailsToCloseTwice", "a_second_shutdown_is_harmless"),
    producer("opening:FailsToCloseUnopened", "a_shutdown_without_a_connection_is_harmless"),
    consumer("opening:WaitsForItsMessages", "a_close_with_messages_in_flight_loses_none"),
    consumer("opening:OpensWhenMade", "making_a_connector_does_nothing"),
    consumer("opening:ConnectsTwice", "connecting_again_changes_nothing"),
    consumer("opening:ForgetsWhenConnectedAgain", "connecting_again_changes_nothing"),
    consumer("opening:SeesNoOutage", OUTAGE),
    consumer("opening:LosesOnReconnect", OUTAGE),
    consumer("opening:RaisesItsClientsErrors", "an_address_where_nothing_listens_is_not_connected"),
    producer("opening:ConnectsToNothing", "an_address_where_nothing_listens_is_not_connected"),
    consumer("opening:GivesUpAtStart", "a_worker_waits_for_a_backend_that_is_down_when_it_starts"),
    # found out by an engine
    producer("engines:WritesItsOwnTrace", "an_output_carries_key_headers_and_trace_context"),
    producer("engines:KeepsFewHeaders", DEAD_LETTER),
    producer("engines:CutsLongHeaders", DEAD_LETTER),
    consumer("losing:LosesOnClose", "a_message_stays_until_its_dead_letter_is_stored"),
    consumer("losing:LosesOnClose", "a_worker_that_is_stopped_in_the_middle_loses_nothing"),
    consumer("losing:TakesEverything", IN_FLIGHT),
    consumer("reading:ReturnsMoreThanAsked", IN_FLIGHT),
    consumer("settling:DoesNotExtend", "a_function_that_takes_long_keeps_its_messages"),
    consumer("engines:CountsAllAsLate", "an_engine_shows_the_standard_metrics"),
    consumer("engines:LeavesWhatIsAtWork", "an_engine_that_is_cancelled_leaves_nothing"),
    consumer("losing:SettlesAtConsume", "outputs_of_killed_workers_are_all_there"),
    consumer("transactions:StoresThenSettles", "outputs_of_killed_workers_are_there_once"),
    consumer("opening:RaisesItsClientsErrors", "ctrl_c_ends_a_worker_whose_backend_is_away"),
    # configured
    options("options:AnswersForAll", "a_missing_option_is_refused_by_name"),
    options("options:HasNoSchema", "the_options_are_typed_and_described"),
    Part(
        "asks_the_server",
        "a_configuration_is_judged_without_a_backend",
        check="options:asks_the_server",
        says="Its check connects to the server.",
    ),
    options("options:TakesAnyOption", "an_unknown_option_is_refused_by_name"),
    options("options:PlainPassword", "what_sounds_secret_is_a_secret"),
    consumer("opening:ShowsThePassword", "no_secret_is_ever_shown"),
    Part("has_no_options", "the_options_are_typed_and_described", options=None, says="Has no options model."),
    Part(
        "imports_its_connector",
        "the_plugin_is_light",
        options="reference:ReferenceOptions",
        says="Its options stand in the module of its connector.",
    ),
    Part(
        "names_what_is_not_there",
        "everything_that_the_plugin_names_exists",
        producer="reference:Nothing",
        says="Names a producer that does not exist.",
    ),
    # declared wrongly
    declares("hides_headers", HEADERS, headers=False),
    declares("hides_keys", KEYS, keys=False),
    declares("hides_its_order", IN_ORDER, ordering="none"),
    declares("hides_its_count", "attempts_survive_the_consumer", redelivery_count=False),
    declares("hides_the_delay_of_records", "a_record_with_a_delay_comes_after_it", record_delay=False),
    declares("hides_the_delay_of_requeues", DELAYED, requeue_delay=False),
    declares("hides_its_lease", "a_lease_says_how_long_it_lasts", lease=False),
    declares("hides_replay", "what_was_settled_can_be_read_again", replay=False),
    declares("hides_its_lag", LAG, lag=False),
    declares("hides_tombstones", "a_tombstone_is_not_an_empty_body", tombstones=False),
    declares("hides_browsing", SHOWS_ALL, browse=False),
    declares("hides_claiming", CHOSEN_ALONE, claim=False),
    declares("hides_its_backlog", COUNTED, backlog=False),
    declares("hides_that_it_creates", CREATED, create=False),
    declares("hides_seeking", MOVED, seek=False),
    declares("hides_groups", "every_group_gets_every_message", groups=False),
    declares("hides_its_transactions", TOGETHER, transactions=False),
    # transactions that are none
    consumer("transactions:HasNoTransactions", TOGETHER),
    consumer("transactions:ForgetsToStore", TOGETHER),
    consumer("transactions:ForgetsToSettle", TOGETHER),
    consumer("transactions:StoresWhatIsTriedAgain", TOGETHER),
    consumer("transactions:StoresTheRest", "a_transaction_with_a_lost_message_does_nothing"),
    consumer("transactions:SettlesByNumber", "two_deliveries_of_a_message_are_not_settled_as_one"),
    consumer("transactions:StoresFirst", "a_transaction_with_a_lost_message_does_nothing"),
    consumer("transactions:SettlesInSpiteOfRefusals", "a_transaction_with_a_refused_record_does_nothing"),
    consumer("transactions:SaysNotWhichIsRefused", "a_transaction_with_a_refused_record_does_nothing"),
]

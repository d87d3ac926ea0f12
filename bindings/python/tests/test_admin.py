"""Administration."""

import pytest
from conftest import looped

import meshwire
from meshwire import sync
from meshwire.testing import Gateway


@looped
async def test_topics_groups_and_limits_are_made_changed_listed_and_deleted(topic):
    with Gateway() as gateway:
        async with meshwire.connect(gateway.url) as mesh:
            made = await mesh.topics.create(topic, retention=60, lagging="block", durability="memory")
            assert (made.name, made.retention, made.lagging) == (topic, 60.0, "block")
            assert (await mesh.topics.update(topic, retention=70)).retention == 70.0
            assert [each.name async for each in mesh.topics.list()] == [topic]
            groups = mesh.groups(topic)
            assert (await groups.create("g", start="earliest", max_failures=3, ack_wait=5)).ack_wait == 5.0
            for n in range(3):
                await mesh.publish(topic, n)
            assert (await groups.seek("g", 2)).settled_through == 1
            assert (await groups.seek("g", "latest")).lag == 0
            assert (await groups.update("g", max_failures=0)).max_failures == 0
            assert [group.name async for group in groups.list()] == ["g"]
            await groups.create("caches", mode="broadcast", member="north")
            [member] = (await groups.get("caches")).durable_members
            assert member.name == "north"
            await groups.delete_member("caches", "north")
            await groups.delete("g")
            with pytest.raises(LookupError):
                await groups.get("g")
            assert (await mesh.limits.set(publish_rate=5_000)).publish_rate == 5_000
            assert (await mesh.limits.get()).publish_rate == 5_000
            await mesh.topics.delete(topic, force=True)
            with pytest.raises(meshwire.TopicNotFoundError):
                await mesh.topics.get(topic)
            with pytest.raises(meshwire.InvalidError, match="retentoin"):
                await mesh.topics.create(topic, retentoin=1)


def test_dead_letters_are_listed_by_pages_given_back_and_removed(topic):
    with Gateway() as gateway, sync.connect(gateway.url) as mesh:
        for n in range(250):
            mesh.publish_nowait(topic, n)
        mesh.flush()
        with mesh.subscribe(topic, group="g") as deliveries:
            for n, delivery in enumerate(deliveries):
                if n == 249:
                    delivery.reject_confirmed("no")
                    break
                delivery.reject("no")
        letters = mesh.dead_letters(topic, group="g")
        numbers = [letter.number for letter in letters.list()]
        assert len(numbers) == 250, "they are read by pages"
        one = letters.get(numbers[0])
        assert one.event["data"] == 0 and one.stored is not None and one.reason == "rejected"
        assert letters.redrive([*numbers[:2], 10_000]) == meshwire.Redriven(redriven=2, not_there=1)
        assert letters.purge(numbers[2:4]) == 2
        assert letters.redrive_all().redriven >= 246

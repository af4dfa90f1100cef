"""The outbox."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Create the table of :class:`~django_layercache.models.OutboxEntry`."""

    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="OutboxEntry",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tags", models.TextField()),
                ("created", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "verbose_name": "outbox entry",
                "verbose_name_plural": "outbox entries",
                "db_table": "layercache_outbox",
            },
        ),
    ]
